/** One thing or several, in English: the number as it is chooses the form, formatted it is shown. */
export const count = (value: number, shown: string, one: string, several: string) =>
  `${shown} ${value === 1 ? one : several}`;
