import type { VNode } from 'preact';
import type { Chrome } from '../../../src/console/components/chrome.ts';
import { ComparePage } from '../../../src/console/pages/compare-page.tsx';
import { ConnectPage } from '../../../src/console/pages/connect-page.tsx';
import { DeletePage } from '../../../src/console/pages/delete-page.tsx';
import type { FailureKind } from '../../../src/console/console-error.ts';
import { FailurePage } from '../../../src/console/pages/failure-page.tsx';
import { ImagePage } from '../../../src/console/pages/image-page.tsx';
import { LoginPage } from '../../../src/console/pages/login-page.tsx';
import type { LoginFailure } from '../../../src/console/visit.ts';
import { RawPage } from '../../../src/console/pages/raw-page.tsx';
import {
  RepositoriesPage,
  type RepositoriesPageProps,
} from '../../../src/console/pages/repositories-page.tsx';
import { countOnPage } from '../../../src/inventory/repository-lists.ts';
import { RepositoryPage } from '../../../src/console/pages/repository-page.tsx';
import { sampleAccountPages } from './sample-account.tsx';
import { ago, digestOf, nowMs, sampleModels, whole, type Word } from './sample-models.ts';

/** Every page in every state, by a name for it. */
export function samplePages(chrome: Chrome, word: Word = (text) => text): Readonly<Record<string, VNode>> {
  return {
    ...listPages(chrome, word),
    ...imagePages(chrome, word),
    ...deletePages(chrome, word),
    ...smallPages(chrome, word),
    ...sampleAccountPages(chrome, word),
  };
}

const names = [
  'platform/web',
  'platform/api',
  'library/alpine',
  'charts/ingress',
  'ml/training/pytorch-cuda12',
];

function listPages(chrome: Chrome, word: Word): Record<string, VNode> {
  const rows = Array.from({ length: 50 }, (_, index) => ({
    name: word(index < names.length ? (names[index] ?? '') : `team-${index}/service-${index * 37}`),
    tags: index === 3 ? null : (index * 131) % 977,
    bytes: index === 3 ? null : 8_100_000_000 / (index + 1),
    pushedMs: index === 4 ? null : nowMs - index * index * 2 * ago.hourMs,
    pushedBy: index === 4 ? null : word(index % 3 === 0 ? 'alice' : 'token:ci'),
    pulledMs: index % 6 === 5 ? null : nowMs - index * 47 * ago.minuteMs,
  }));
  const long = rows.map((row, index) => ({ ...row, name: `${'n'.repeat(250)}/${index + 100}` }));
  const question = { search: '', sort: 'name', descending: false, page: 1 } as const;
  const list = {
    rows,
    total: 10_000,
    pages: 200,
    asOfMs: nowMs - 2 * ago.minuteMs,
    isComplete: true,
    isRecorded: true,
    next: { page: 2 },
  };
  const none = { ...list, rows: [], total: 0, pages: 1, next: null };
  const page = (change: Partial<RepositoriesPageProps>) => (
    <RepositoriesPage chrome={chrome} question={question} list={list} mayPush {...change} />
  );
  const { repositoryModel: model } = sampleModels(word);
  const empty = { ...model, rows: [], total: 0, pages: 1 };
  return {
    repositories: page({}),
    'repositories-sorted': page({
      question: { search: 'web', sort: 'size', descending: true, page: 3 },
      list: { ...list, rows: rows.slice(0, 4), total: 4, isComplete: false },
    }),
    'repositories-long-names': page({
      question: { search: 'n'.repeat(200), sort: 'size', descending: true, page: 3 },
      list: { ...list, rows: long.slice(0, countOnPage(long)) },
    }),
    'repositories-none': page({ list: none }),
    'repositories-nothing-allowed': page({ list: none, mayPush: false }),
    'repositories-no-match': page({ question: { ...question, search: word('nothing like it') }, list: none }),
    'repositories-unrecorded': page({
      list: { ...list, rows: rows.slice(0, 8), total: null, pages: null, asOfMs: null, isRecorded: false },
    }),
    repository: <RepositoryPage chrome={chrome} model={model} mayDelete />,
    'repository-read-only': (
      <RepositoryPage chrome={chrome} model={{ ...model, page: 5 }} mayDelete={false} />
    ),
    'repository-empty': <RepositoryPage chrome={chrome} model={empty} mayDelete />,
    'repository-no-match': (
      <RepositoryPage chrome={chrome} model={{ ...empty, search: word('rc') }} mayDelete />
    ),
  };
}

function imagePages(chrome: Chrome, word: Word): Record<string, VNode> {
  const { image, imageModel: model, compare, raw, foreign } = sampleModels(word);
  const labels = Array.from(
    { length: 45 },
    (_, index) => [foreign(`com.example.label-${index}`), foreign('x')] as const,
  );
  const large = image(40);
  const chart = {
    name: foreign('ingress'),
    version: foreign('2.1.0'),
    appVersion: foreign('1.27.3'),
    description: foreign('The way in'),
  };
  const comparing = {
    chrome,
    repository: model.repository,
    a: '1.27.2',
    b: '1.27.3',
    tags: ['latest', '1.27.3', '1.27.2'].map(word),
    missing: [],
  };
  return {
    image: <ImagePage chrome={chrome} model={model} mayDelete />,
    'image-forty-layers': (
      <ImagePage
        chrome={chrome}
        model={{
          ...model,
          kind: 'image',
          platforms: whole([]),
          twins: whole([]),
          referrers: whole([]),
          annotations: whole([]),
          pushedMs: null,
          pulledMs: null,
          shown: { ...large, config: large.config && { ...large.config, labels: whole(labels) } },
        }}
        mayDelete={false}
      />
    ),
    'image-chart': (
      <ImagePage
        chrome={chrome}
        model={{
          ...model,
          kind: 'chart',
          reference: '2.1.0',
          platforms: whole([]),
          shown: { ...image(1), config: null, chart },
          referrers: null,
        }}
        mayDelete
      />
    ),
    'image-artifact': (
      <ImagePage
        chrome={chrome}
        model={{
          ...model,
          kind: 'artifact',
          reference: model.digest,
          platforms: whole([]),
          shown: { ...image(2), config: null, steps: whole([]) },
        }}
        mayDelete
      />
    ),
    raw: <RawPage chrome={chrome} model={raw} />,
    compare: <ComparePage {...comparing} model={{ ...compare, a: word(compare.a), b: word(compare.b) }} />,
    'compare-choose': <ComparePage {...comparing} b="" model={null} />,
    'compare-missing': <ComparePage {...comparing} missing={[word('1.27.2')]} model={null} />,
    'compare-same': (
      <ComparePage
        {...comparing}
        model={{ ...compare, onlyA: whole([]), onlyB: whole([]), settings: whole([]) }}
      />
    ),
    'compare-same-settings': <ComparePage {...comparing} model={{ ...compare, settings: whole([]) }} />,
  };
}

function deletePages(chrome: Chrome, word: Word): Record<string, VNode> {
  const repository = 'platform/web';
  const tag = (name: string, twins: string[] | null) => ({
    tag: word(name),
    digest: digestOf(1),
    bytes: 192_400_000,
    twins: twins?.map(word) ?? null,
  });
  const ask = { chrome, repository, isCleaned: false };
  const image = { kind: 'image', digest: digestOf(1), bytes: 192_400_000 } as const;
  return {
    'delete-tag': (
      <DeletePage
        {...ask}
        target={{ kind: 'tags', tags: [tag('1.27.3', ['latest', '1.27', '1'])] }}
        isCleaned
      />
    ),
    'delete-tags': (
      <DeletePage
        {...ask}
        target={{ kind: 'tags', tags: [tag('rc-1', []), tag('rc-2', ['rc']), tag('rc-3', null)] }}
      />
    ),
    'delete-image': (
      <DeletePage
        {...ask}
        target={{ ...image, tags: ['1.27.3', 'latest', '1.27'].map(word), platforms: [], referrers: 3 }}
      />
    ),
    'delete-untagged': (
      <DeletePage {...ask} target={{ ...image, tags: [], platforms: [], referrers: null }} />
    ),
  };
}

const loginFailures: LoginFailure[] = [
  { kind: 'wrong' },
  { kind: 'lockedOut', seconds: 840 },
  { kind: 'busy' },
  { kind: 'expired' },
];
const failureKinds: FailureKind[] = [
  'badRequest',
  'forbidden',
  'notFound',
  'notAllowed',
  'staleForm',
  'plainHttp',
  'busy',
  'tooMuch',
  'registryFailed',
  'registryDown',
  'internal',
];

function smallPages(chrome: Chrome, word: Word): Record<string, VNode> {
  const outside: Chrome = {
    ...chrome,
    visitor: null,
    csrf: '',
    sections: { repositories: false, clean: false },
  };
  const authority = {
    fingerprint: Array.from({ length: 32 }, (_, index) =>
      ((index * 37 + 9) % 256).toString(16).padStart(2, '0'),
    )
      .join(':')
      .toUpperCase(),
    expiresMs: nowMs + 3650 * ago.dayMs,
  };
  const login = (failure: LoginFailure | null) => (
    <LoginPage
      chrome={outside}
      returnTo="/ui/"
      name={failure === null ? '' : word('alice')}
      failure={failure}
    />
  );
  return {
    login: login(null),
    ...Object.fromEntries(loginFailures.map((failure) => [`login-${failure.kind}`, login(failure)])),
    connect: <ConnectPage chrome={outside} authority={authority} />,
    'connect-public': <ConnectPage chrome={chrome} authority={null} />,
    ...Object.fromEntries(
      failureKinds.map((kind) => [
        `failure-${kind}`,
        <FailurePage
          chrome={kind === 'notFound' ? outside : chrome}
          kind={kind}
          requestId={word('4bf92f3577b34da6')}
        />,
      ]),
    ),
  };
}
