/** Whether only its own machine can reach an address (127.0.0.0/8, ::1). */
export function isLoopback(address: string): boolean {
  return address.replace(/^::ffff:/i, '').startsWith('127.') || address === '::1';
}
