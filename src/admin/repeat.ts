/** Acts at once, then repeatedly, with a pause after each time. `act` must not reject. */
export function repeat(
  act: () => Promise<void>,
  pauseMs: () => number,
): { readonly first: Promise<void>; readonly end: () => void } {
  let timer: NodeJS.Timeout | undefined;
  let hasEnded = false;
  const actAgain = async (): Promise<void> => {
    await act();
    if (!hasEnded) timer = setTimeout(() => void actAgain(), pauseMs()).unref();
  };
  return {
    first: actAgain(),
    end: () => {
      hasEnded = true;
      clearTimeout(timer);
    },
  };
}
