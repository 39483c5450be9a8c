import { createConfig as boundaries } from 'eslint-plugin-boundaries/config';
import tseslint from 'typescript-eslint';

// ---- rooms: who may import whom (docs/architecture.md) ---------------------------------------------------------

const BASE = ['domain', 'config'];
const STORES = ['matching', 'telephony', 'prisma', ...BASE];
const PROCESSES = ['api', 'worker', 'workflows', 'activities', 'webhooks', ...STORES];

/** The arrows down from each room; a room may always import itself. */
const ARROWS = {
  test: ['dev', 'bench', 'chaos', ...PROCESSES],
  dev: PROCESSES,
  chaos: ['bench', 'dev', ...PROCESSES],
  bench: ['dev', ...PROCESSES],
  api: ['activities', 'webhooks', ...STORES],
  worker: ['activities', 'webhooks', ...STORES],
  workflows: ['domain'],
  activities: STORES,
  matching: ['prisma', ...BASE],
  telephony: ['prisma', ...BASE],
  webhooks: ['prisma', ...BASE],
  prisma: BASE,
  domain: [],
  config: [],
};

/** These rooms talk to workflows, through the doors only: what can be said to one, and the client that says it. */
const CALLERS = ['api', 'worker', 'activities', 'matching', 'telephony'];
const DOORS = [
  'workflows/**/messages.ts',
  'workflows/client.ts',
  'workflows/executions.ts',
  'workflows/fence.ts',
  'workflows/attributes.ts',
];

const room = (...types) => ({ element: { types: { anyOf: types } } });

const rooms = boundaries({
  files: ['**/*.ts'],
  settings: {
    'boundaries/elements': Object.keys(ARROWS).map((type) => ({ type, pattern: type, partialMatch: false })),
    'boundaries/files': DOORS.map((pattern) => ({ category: 'door', pattern })),
  },
  rules: {
    'boundaries/no-unknown-dependencies': 'error',
    'boundaries/dependencies': [
      'error',
      {
        default: 'disallow',
        message: '{{from.element.type}}/ may not import {{dependency.source}}: an arrow may go down, never up',
        policies: [
          ...Object.entries(ARROWS).map(([from, below]) => ({ from: room(from), allow: { to: room(from, ...below) } })),
          { from: room(...CALLERS), allow: { to: { ...room('workflows'), file: { categories: 'door' } } } },
          // A workflow runs alone in its sandbox: of those who work for it, it knows the types.
          { from: room('workflows'), allow: { to: room('activities'), dependency: { kind: 'type' } } },
        ],
      },
    ],
  },
});

// ---- what single rooms must not do -----------------------------------------------------------------------------

const ENVIRONMENT = {
  object: 'process',
  property: 'env',
  message: 'Only config/ reads the environment: add a setting to config/config.ts.',
};

const noEnvironment = {
  // What starts other processes hands its environment on to them; everything else asks config/.
  ignores: ['config/**', 'dev/**', 'bench/**', 'chaos/**', 'test/**', 'prisma.config.ts'],
  rules: {
    'no-restricted-properties': ['error', ENVIRONMENT],
    'no-restricted-imports': [
      'error',
      { paths: [{ name: 'node:process', importNames: ['env'], message: ENVIRONMENT.message }] },
    ],
  },
};

const CLOCK = 'domain/ is pure: take the time as an argument.';

const pureDomain = {
  files: ['domain/**'],
  rules: {
    'no-restricted-imports': ['error', { patterns: [{ regex: '^node:', message: 'domain/ is pure: no I/O.' }] }],
    'no-restricted-syntax': [
      'error',
      { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: CLOCK },
      { selector: "CallExpression[callee.object.name='Date'][callee.property.name='now']", message: CLOCK },
    ],
  },
};

const deterministicWorkflows = {
  files: ['workflows/**'],
  ignores: ['workflows/client.ts', 'workflows/executions.ts', 'workflows/fence.ts'],
  rules: {
    '@typescript-eslint/no-restricted-imports': [
      'error',
      {
        patterns: [
          {
            regex: String.raw`^(?!\.|@temporalio/(workflow|common)$)`,
            allowTypeImports: true,
            message: 'A workflow has only domain/ and @temporalio/workflow at hand; side effects are activities.',
          },
        ],
      },
    ],
  },
};

export default tseslint.config(
  { ignores: ['node_modules/', '.data/', 'prisma/generated/', 'coverage/'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // The two that find what neither tsc nor a test does: a promise nobody waits for, and an async function where
      // a plain one is called for (an async update validator makes its workflow task fail for ever).
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'max-lines-per-function': ['warn', { max: 80, skipBlankLines: true, skipComments: true }],
    },
  },
  // A test file is one long `describe`.
  {
    // A test reads JSON off the wire and says what must be in it: that is its type check.
    files: ['test/**'],
    rules: {
      'max-lines-per-function': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/unbound-method': 'off',
    },
  },
  {
    // Doubles keep the shape of what they stand for, asynchronous or not.
    files: ['test/**', 'dev/sip/**'],
    rules: { '@typescript-eslint/require-await': 'off' },
  },
  rooms,
  noEnvironment,
  pureDomain,
  deterministicWorkflows,
);
