import tseslint from 'typescript-eslint';

/**
 * The import rule: main → cli, quickstart → cluster → app → server → auth, proxy, cache, storage → oci.
 * doctor is called by cli alone. Siblings meet only in app.ts; config, tls, observability, operator-error.ts and peers.ts know nobody above them.
 */
const mayImport = {
  oci: [],
  policy: ['oci'],
  config: ['policy'],
  tls: [],
  observability: ['config'],
  auth: ['oci'],
  proxy: ['oci'],
  cache: ['oci'],
  storage: ['oci'],
  alerts: [],
  server: ['oci', 'auth', 'policy', 'proxy', 'cache', 'storage', 'observability'],
  cluster: ['app', 'auth', 'cache', 'config', 'observability', 'server', 'proxy', 'tls', 'alerts'],
  doctor: ['auth', 'cache', 'config', 'tls'],
};
const folders = [...Object.keys(mayImport), 'cli', 'quickstart'];
const importRule = Object.entries(mayImport).map(([folder, allowed]) => ({
  files: [`src/${folder}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          {
            group: [
              ...folders
                .filter((other) => other !== folder && !allowed.includes(other))
                .map((other) => `../${other}/*`),
              ...(allowed.includes('app') ? [] : ['../app.ts']),
              '../main.ts',
            ],
            message: `src/${folder} may import only from: ${[folder, ...allowed].join(', ')} (see ARCHITECTURE.md).`,
          },
        ],
      },
    ],
  },
}));

export default tseslint.config(
  { ignores: ['dist/', 'build/', 'node_modules/', 'var/'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { project: ['./test/tsconfig.json'] } },
    rules: {
      '@typescript-eslint/consistent-type-definitions': 'off',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-empty-function': ['error', { allow: ['arrowFunctions'] }],
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      'no-restricted-syntax': [
        'error',
        {
          selector: 'ExportAllDeclaration',
          message: 'No barrel files: import from the file that owns the name.',
        },
      ],
    },
  },
  {
    files: ['test/**/*.ts'],
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
  ...importRule,
);
