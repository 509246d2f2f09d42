import regexp from 'eslint-plugin-regexp';
import globals from 'globals';
import tseslint from 'typescript-eslint';

const barrel = {
  selector: 'ExportAllDeclaration',
  message: 'No barrel files: import from the file that owns the name.',
};

/** The types of JSX declare them, and no program here runs in a browser. */
const browserGlobals = Object.keys(globals.browser)
  .filter((name) => !(name in globals.node))
  .map((name) => ({ name, message: 'Only browsers have it.' }));

/** The places that read paths. */
const readsPaths = ['src/registry/operation.ts', 'src/config/schema/types/open-path.ts', 'src/doctor/**'];
const srcSyntax = [
  {
    selector: ':matches(JSXAttribute > JSXIdentifier, Property > Identifier)[name="dangerouslySetInnerHTML"]',
    message: 'Text of others is never markup: let the renderer escape it.',
  },
  {
    selector: 'Literal[regex.pattern=/v1|v2|v\\[12/]',
    message: 'A path is read once, in src/registry/operation.ts: go by the Operation.',
  },
  {
    selector:
      'MemberExpression[property.name=/^(startsWith|endsWith|includes|match|split)$/][object.property.name=/^(path|rawPath)$/]',
    message: 'A path is read once, in src/registry/operation.ts: go by the Operation.',
  },
];
const accessor = {
  selector: 'ObjectExpression > Property[kind=/^[gs]et$/]',
  message: 'It gives each object a hidden class, and keeps what it sees alive: use a method, or a class.',
};

export default tseslint.config(
  { ignores: ['dist/', 'build/', 'node_modules/', 'var/'] },
  {
    files: ['**/*.{ts,tsx}'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { project: ['./test/tsconfig.json'] } },
    rules: {
      '@typescript-eslint/consistent-type-definitions': 'off',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-empty-function': ['error', { allow: ['arrowFunctions'] }],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      'no-restricted-syntax': ['error', barrel],
      'no-restricted-globals': ['error', ...browserGlobals],
    },
  },
  {
    // What a client can send must not make a pattern take more than linear time.
    files: ['src/**/*.{ts,tsx}'],
    plugins: { regexp },
    rules: {
      'regexp/no-super-linear-backtracking': ['error', { report: 'potential' }],
      'regexp/no-dupe-disjunctions': ['error', { report: 'all' }],
      'regexp/no-super-linear-move': ['error', { report: 'potential', ignoreSticky: true }],
    },
  },
  {
    files: ['src/**/*.{ts,tsx}'],
    ignores: readsPaths,
    rules: { 'no-restricted-syntax': ['error', barrel, ...srcSyntax] },
  },
  {
    // What is made for each request.
    files: [
      'src/{listener,pipeline,auth,policy,cache,storage,upstream,locks,leases,redis,registry,http,system}/**/*.ts',
    ],
    ignores: readsPaths,
    rules: { 'no-restricted-syntax': ['error', barrel, ...srcSyntax, accessor] },
  },
  {
    files: ['test/**/*.{ts,tsx}', 'torture/**/*.ts'],
    rules: {
      '@typescript-eslint/no-invalid-void-type': 'off', // a trial may give a number, and most give nothing
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            'describe',
            'it',
            'test',
            'before',
            'after',
            'beforeEach',
            'afterEach',
          ].map((name) => ({ from: 'package', name, package: 'node:test' })),
        },
      ],
    },
  },
);
