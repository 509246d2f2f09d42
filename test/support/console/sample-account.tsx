import type { VNode } from 'preact';
import type { Chrome } from '../../../src/console/components/chrome.ts';
import type { Notice } from '../../../src/console/components/notice.tsx';
import { AccountPage, type AccountPageProps } from '../../../src/console/pages/account-page.tsx';
import type { Tokens } from '../../../src/console/pages/account-tokens.tsx';
import type { CleanModel, CleanRun } from '../../../src/console/changes/clean-up.ts';
import { CleanPage } from '../../../src/console/pages/clean-page.tsx';
import { ago, nowMs, type Word } from './sample-models.ts';

/** The pages of what belongs to the visitor, and of the clean-up. */
export function sampleAccountPages(chrome: Chrome, word: Word): Record<string, VNode> {
  return { ...accountPages(chrome, word), ...cleanPages(chrome, word) };
}

function accountPages(chrome: Chrome, word: Word): Record<string, VNode> {
  const tokens = sampleTokens(word);
  const props: AccountPageProps = {
    chrome,
    visitor: { name: word('alice'), kind: 'user' },
    password: { whyNot: null, failure: null, minLength: 12 },
    tokens,
    rights: {
      kind: 'rules',
      rules: [
        {
          rule: 1,
          who: word('group:platform'),
          repositories: ['platform/**', 'charts/**'],
          actions: ['pull', 'push', 'delete'],
        },
        { rule: 4, who: 'authenticated', repositories: ['**'], actions: ['pull'] },
        { rule: 5, who: 'authenticated', repositories: ['secret/**'], actions: [] },
      ],
      check: { repository: word('platform/web'), actions: ['pull', 'push', 'delete', 'overwrite'], rule: 1 },
      bound: null,
    },
  };
  const none = { ...tokens, list: [] };
  const withTokens = (change: Partial<Tokens>) => <AccountPage {...props} tokens={{ ...none, ...change }} />;
  const failures = ['name', 'taken', 'repositories', 'actions', 'tooMany'] as const;
  const withPassword = (failure: AccountPageProps['password']['failure']) => (
    <AccountPage {...props} password={{ whyNot: null, failure, minLength: 12 }} />
  );
  const passwords = ['wrong', 'differ', 'short', 'long', 'unfit', 'busy'] as const;
  return {
    account: <AccountPage {...props} />,
    'account-token-made': withTokens({
      list: tokens.list.slice(0, 1),
      made: { name: word('ci'), token: 'tidegate_Zm9yIGEgc2FtcGxlIG9ubHksIG5vdCBhIHJlYWwgb25l4kT2pQ' },
    }),
    'account-of-a-token': (
      <AccountPage
        {...props}
        visitor={{ name: word('ci'), kind: 'token' }}
        password={{ whyNot: 'token', failure: null, minLength: 12 }}
        tokens={{ ...none, whyNot: 'token' }}
        rights={{
          kind: 'rules',
          rules: [],
          check: { repository: word('a/b'), actions: [], rule: null },
          bound: word('pull in platform/**'),
        }}
      />
    ),
    'account-read-only': (
      <AccountPage
        {...props}
        password={{ whyNot: 'readOnly', failure: null, minLength: 12 }}
        tokens={{ ...tokens, whyNot: 'readOnly' }}
        rights={{ kind: 'all' }}
      />
    ),
    'account-tokens-disabled': withTokens({ whyNot: 'disabled' }),
    ...Object.fromEntries(failures.map((failure) => [`account-token-${failure}`, withTokens({ failure })])),
    ...Object.fromEntries(passwords.map((failure) => [`account-password-${failure}`, withPassword(failure)])),
  };
}

function sampleTokens(word: Word): Tokens {
  const token = (name: string, expiresMs: number | null, change: Partial<Tokens['list'][number]> = {}) => ({
    name: word(name),
    repositories: ['platform/**'],
    actions: ['pull', 'push'] as const,
    createdMs: nowMs - 40 * ago.dayMs,
    expiresMs,
    lastUse: { day: '2026-11-28', address: word('192.0.2.17') },
    isOwn: true,
    ...change,
  });
  return {
    whyNot: null,
    list: [
      token('ci', nowMs + 5 * ago.dayMs),
      token('build-server', nowMs + 90 * ago.dayMs, {
        repositories: ['**'],
        actions: ['pull'],
        lastUse: null,
      }),
      token('old-laptop', nowMs - ago.dayMs),
      token('made-by-the-operator', null, { isOwn: false, actions: ['pull', 'push', 'delete'] }),
    ],
    made: null,
    failure: null,
    draft: { name: word(''), repositories: word('platform/**') },
  };
}

const states: CleanRun['state'][] = ['in quarantine', 'half-done', 'half-undone', 'undone', 'purged'];

function cleanPages(chrome: Chrome, word: Word): Record<string, VNode> {
  const runs = states.map((state, index): CleanRun => ({
    run: `20261${index + 1}2${index}-033000-a1b2c3`,
    beganMs: index === 3 ? null : nowMs - (index + 1) * 9 * ago.dayMs,
    state,
    tags: 240 >> index,
    manifests: 310 >> index,
    bytes: index === 0 ? 18_300_000_000 : 0,
    canUndo: index === 0,
  }));
  const plan: Extract<CleanModel, { kind: 'plan' }> = {
    kind: 'plan',
    asOfMs: nowMs - 20_000,
    nextRunMs: nowMs + 10 * ago.hourMs,
    hasRules: true,
    goes: { tags: 312, manifests: 355, blobs: 1_204, bytes: 41_700_000_000 },
    tags: Array.from({ length: 50 }, (_, index) => ({
      repository: 'ci/backend',
      tag: word(`build-${4_100 - index}`),
      why: word('rule 2: newest 10, pushedWithin 30d, pulledWithin 90d'),
      pushedMs: nowMs - (31 + index) * ago.dayMs,
      pulledMs: index % 3 === 0 ? null : nowMs - 92 * ago.dayMs,
      bytes: 133_000_000 - index * 2_100_000,
    })),
    warnings: [word('Pulls are not recorded (state.usage), so no rule with pulledWithin retires a tag.')],
    runs,
  };
  const page = (model: CleanModel, in_: Chrome = chrome) => (
    <CleanPage chrome={in_} model={model} mayUndo undoFailure={null} />
  );
  const nothing = { ...plan, goes: { tags: 0, manifests: 0, blobs: 0, bytes: 0 }, tags: [], warnings: [] };
  const after = (notice: Notice) => page({ ...nothing, runs: [] }, { ...chrome, notice });
  return {
    clean: page(plan),
    'clean-nothing': page({ ...nothing, nextRunMs: null, runs: [] }),
    'clean-no-rules': page({ ...nothing, hasRules: false }),
    'clean-busy': page({ kind: 'busy', why: word('A run is going on since 17:12.'), runs }),
    'clean-off': page({ kind: 'off' }),
    'clean-unreachable': page({ kind: 'unreachable' }),
    'clean-undo-failed': (
      <CleanPage
        chrome={chrome}
        model={{ ...nothing, runs }}
        mayUndo
        undoFailure={word('The run is purged.')}
      />
    ),
    'notice-deleted': after({ kind: 'deleted', references: ['rc-1', 'rc-2'].map(word) }),
    'notice-password': after({ kind: 'passwordChanged' }),
    'notice-logged-out': after({ kind: 'loggedOut' }),
    'notice-revoked': after({ kind: 'tokenRevoked', name: word('ci') }),
    'notice-undone': after({ kind: 'undone', run: word('20261129-033000-a1b2c3') }),
  };
}
