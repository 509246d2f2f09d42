/**
 * Reads the commands of `tidegate mirror steps` that write files, as a script for root.
 * @param etc the folder that stands for /etc
 */
export function readStepCommands(text: string, etc = '/etc'): string {
  const commands: string[] = [];
  let isInDocument = false;
  for (const line of text.split('\n')) {
    if (!isInDocument && !/^ {2}sudo (?:install|mkdir|tee) /.test(line)) continue;
    commands.push(isInDocument ? line : line.replace('sudo ', '').replaceAll(' /etc/', ` ${etc}/`));
    isInDocument = isInDocument ? line !== 'END' : line.endsWith("<<'END'");
  }
  return commands.join('\n');
}
