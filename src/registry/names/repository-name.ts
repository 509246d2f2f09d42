/** One part of a repository's name (distribution-spec, "Pulling manifests"). */
const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
/** A repository's name as a regular expression's source. */
export const repositoryNameForm = `${component}(?:/${component})*`;

const wholeComponent = new RegExp(`^${component}$`);
const wholeName = new RegExp(`^${repositoryNameForm}$`);
/** distribution-spec, "Pulling manifests": many clients allow no more, and docker-registry neither. */
export const maxRepositoryNameLength = 255;

/** Whether this is a repository's name as the distribution-spec has it. */
export function isRepositoryName(text: string): boolean {
  return text.length <= maxRepositoryNameLength && wholeName.test(text);
}

/** Whether this can be one part of a repository's name. */
export function isNameComponent(text: string): boolean {
  return text.length <= maxRepositoryNameLength && wholeComponent.test(text);
}

/** The first protocol writes `library/NAME` also as `NAME`. */
export function nameV1Repository(name: string): string {
  return name.includes('/') ? name : `library/${name}`;
}
