type Group = Readonly<Record<string, unknown>>;

/** A member of one item of a list. */
type Place = { readonly index: number; readonly member: string };

/**
 * Edits members of each item of a list, named by their paths within it, such as `upstream.ca`. An item without such a
 * member stays as it is, as does what is no list.
 */
export function editMembers(
  list: unknown,
  members: readonly string[],
  edit: (value: unknown, place: Place) => unknown,
): unknown {
  if (!Array.isArray(list)) return list;
  return list.map((item: unknown, index) =>
    members.reduce(
      (edited, member) => editMember(edited, member.split('.'), (value) => edit(value, { index, member })),
      item,
    ),
  );
}

/** The values of these members in all items of a list. */
export function readMembers(list: unknown, members: readonly string[]): unknown[] {
  const found: unknown[] = [];
  editMembers(list, members, (value) => {
    found.push(value);
    return value;
  });
  return found;
}

/** The member of one item of a list. */
export function readMember(list: unknown, { index, member }: Place): unknown {
  const item = (list as readonly unknown[])[index];
  return member.split('.').reduce((part, name) => (part as Group)[name], item);
}

function editMember(
  item: unknown,
  [name = '', ...below]: readonly string[],
  edit: (value: unknown) => unknown,
): unknown {
  if (typeof item !== 'object' || item === null || !Object.hasOwn(item, name)) return item;
  const value = (item as Group)[name];
  return { ...item, [name]: below.length === 0 ? edit(value) : editMember(value, below, edit) };
}
