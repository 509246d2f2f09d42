import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

/** A regular expression that a source file holds. */
export type FoundPattern = {
  /** Path, below the folder that was read, and line. */
  readonly place: string;
  readonly pattern: RegExp;
};

/** Finds every regular expression in the sources of a folder: literals, and what is given to RegExp and to the schema as text. */
export function findPatterns(folder: string): FoundPattern[] {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(ts|mjs)$/.test(file))
    .sort();
  return files.flatMap((file) => findInFile(path.join(folder, file), file));
}

function findInFile(file: string, shown: string): FoundPattern[] {
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.ES2023, true);
  const found: FoundPattern[] = [];
  const add = (node: ts.Node, pattern: RegExp) => {
    const line = source.getLineAndCharacterOfPosition(node.getStart()).line + 1;
    found.push({ place: `${shown}:${line}`, pattern });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isRegularExpressionLiteral(node)) {
      const end = node.text.lastIndexOf('/');
      add(node, new RegExp(node.text.slice(1, end), node.text.slice(end + 1)));
    } else if (
      (ts.isNewExpression(node) || ts.isCallExpression(node)) &&
      node.expression.getText() === 'RegExp'
    ) {
      const [text, flags] = node.arguments ?? [];
      const given = text && textOf(text, source);
      add(node, new RegExp(given ?? '', (flags && textOf(flags, source)) ?? ''));
    } else if (
      // The schema hands patterns on as text.
      ts.isVariableDeclaration(node) &&
      node.initializer &&
      ts.isStringLiteralLike(node.initializer) &&
      /^\^.*\$$/.test(node.initializer.text)
    ) {
      add(node, new RegExp(node.initializer.text));
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** The text of an expression, as far as the file says it; what comes from elsewhere is a letter. */
function textOf(node: ts.Expression, source: ts.SourceFile): string {
  if (ts.isNoSubstitutionTemplateLiteral(node)) return node.rawText ?? node.text;
  if (ts.isStringLiteralLike(node)) return node.text;
  if (ts.isRegularExpressionLiteral(node)) return node.text.slice(1, node.text.lastIndexOf('/'));
  if (ts.isTemplateExpression(node)) {
    const spans = node.templateSpans.map(
      ({ expression, literal }) => textOf(expression, source) + (literal.rawText ?? literal.text),
    );
    return (node.head.rawText ?? node.head.text) + spans.join('');
  }
  if (ts.isTaggedTemplateExpression(node)) return textOf(node.template, source); // String.raw, of which is no other
  if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression)) {
    const list = node.expression.expression;
    const [between] = node.arguments;
    if (ts.isArrayLiteralExpression(list) && between)
      return list.elements.map((item) => textOf(item, source)).join(textOf(between, source));
  }
  if (ts.isBinaryExpression(node)) return textOf(node.left, source) + textOf(node.right, source);
  if (ts.isPropertyAccessExpression(node) && node.name.text === 'source')
    return textOf(node.expression, source);
  if (!ts.isIdentifier(node)) return 'a';
  let text = 'a';
  const visit = (child: ts.Node): void => {
    if (ts.isVariableDeclaration(child) && child.name.getText() === node.text && child.initializer)
      text = textOf(child.initializer, source);
    else ts.forEachChild(child, visit);
  };
  visit(source);
  return text;
}
