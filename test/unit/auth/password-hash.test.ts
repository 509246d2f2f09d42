import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hashPassword, parsePasswordHash, verifyPassword } from '../../../src/auth/password/password-hash.ts';

/** The vectors of "Unix crypt using SHA-256 and SHA-512", as crypt(3) writes them out: salts cut at 16, rounds at least 1000. */
const shaCryptVectors: readonly (readonly [password: string, hash: string])[] = [
  ['Hello world!', '$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5'],
  ['Hello world!', '$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA'],
  ['This is just a test', '$5$rounds=5000$toolongsaltstrin$Un/5jzAHMgOGZ5.mWJpuVolil07guHPvOW8mGRcvxa5'],
  [
    'a very much longer text to encrypt.  This one even stretches over morethan one line.',
    '$5$rounds=1400$anotherlongsalts$Rx.j8H.h8HjEDGomFU8bDkXm3XIUnzyxf12oP84Bnq1',
  ],
  [
    'we have a short salt string but not a short password',
    '$5$rounds=77777$short$JiO1O3ZpDAxGJeaDIuqCoEFysAe1mZNJRs3pw0KQRd/',
  ],
  ['a short string', '$5$rounds=123456$asaltof16chars..$gP3VQ/6X7UUEW3HkBn2w1/Ptq2jxPyzV/cZKmF/wJvD'],
  [
    'the minimum number is still observed',
    '$5$rounds=1000$roundstoolow$yfvwcWrQ8l/K0DAWyuPMDNHpIVlTQebY9l/gL972bIC',
  ],
  [
    'Hello world!',
    '$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1',
  ],
  [
    'Hello world!',
    '$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.',
  ],
  [
    'This is just a test',
    '$6$rounds=5000$toolongsaltstrin$lQ8jolhgVRVhY4b5pZKaysCLi0QBxGoNeKQzQ3glMhwllF7oGDZxUhx1yxdYcz/e1JSbq3y6JMxxl8audkUEm0',
  ],
  [
    'a very much longer text to encrypt.  This one even stretches over morethan one line.',
    '$6$rounds=1400$anotherlongsalts$POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1',
  ],
  [
    'we have a short salt string but not a short password',
    '$6$rounds=77777$short$WuQyW2YR.hBNpjjRhpYD/ifIw05xdfeEyQoMxIXbkvr0gge1a1x3yRULJ5CCaUeOxFmtlcGZelFl5CxtgfiAc0',
  ],
  [
    'a short string',
    '$6$rounds=123456$asaltof16chars..$BtCwjqMJGx5hrJhZywWvt0RLE8uZ4oPwcelCjmw2kSYu.Ec6ycULevoBK25fs2xXgMNrCzIMVcgEJAstJeonj1',
  ],
  [
    'the minimum number is still observed',
    '$6$rounds=1000$roundstoolow$kUMsbe306n21p9R.FRkW3IGn.S9NPN0x50YhH1xhLsPuWGsUSklZt58jaTfF4ZEQpyUNGc0dqbpBYYBaHHrsX.',
  ],
];

const otherVectors: readonly (readonly [password: string, hash: string])[] = [
  ['myPassword', '$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/'], // Apache's documentation, "Password Formats"
  ['myPassword', '{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE='], // the same
  ['', '$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkY8jIucDrjc8deX1s.'], // crypt_blowfish
  ['U*U', '$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'], // crypt_blowfish
];

describe('verifyPassword', () => {
  for (const [password, hash] of [
    ...shaCryptVectors,
    ...otherVectors.slice(0, 2),
    ...otherVectors.slice(3),
  ]) {
    it(`knows the password of ${hash.slice(0, 30)}…`, () => {
      assert.equal(verifyPassword(password, hash), true);
      assert.equal(verifyPassword(`${password}x`, hash), false);
      assert.equal(verifyPassword('', hash), password === '');
    });
  }

  it('throws for what is no hash', () => {
    for (const text of ['', 'plain', 'rqXexS6ZhobKA', '$1$abc$NPHo4ZEWNhKBTNbdJxVwW1']) {
      assert.throws(() => verifyPassword('x', text));
    }
  });
});

describe('parsePasswordHash', () => {
  const bcrypt = '$2y$10$' + 'a'.repeat(21) + 'O' + 'b'.repeat(30) + 'C';
  const sha256 = '$5$salt$' + 'a'.repeat(43);
  const sha512 = '$6$salt$' + 'a'.repeat(86);

  it('takes each kind apart', () => {
    assert.equal(parsePasswordHash(bcrypt)?.kind, 'bcrypt');
    assert.equal(parsePasswordHash(bcrypt.replace('$2y$', '$2a$'))?.kind, 'bcrypt');
    assert.equal(parsePasswordHash(bcrypt.replace('$2y$', '$2b$'))?.kind, 'bcrypt');
    assert.equal(parsePasswordHash(sha256)?.kind, 'sha256-crypt');
    assert.equal(parsePasswordHash(sha512)?.kind, 'sha512-crypt');
  });

  const broken: readonly (readonly [title: string, hash: string])[] = [
    ['a bcrypt cost under 4', bcrypt.replace('$10$', '$03$')],
    ['a bcrypt cost over 31', bcrypt.replace('$10$', '$32$')],
    ['a bcrypt cost of one digit', bcrypt.replace('$10$', '$5$')],
    ['bcrypt cut short', bcrypt.slice(0, -1)],
    ['bcrypt with more after it', bcrypt + '.'],
    ['bcrypt of the broken kind $2x$', bcrypt.replace('$2y$', '$2x$')],
    ['bcrypt whose salt has bits to spare', bcrypt.replace('O', 'P')],
    ['bcrypt whose digest has bits to spare', bcrypt.replace('C', 'D')],
    ['an apr1 salt of 9 characters', '$apr1$123456789$' + 'a'.repeat(22)],
    ['{SHA} of 21 bytes', '{SHA}' + Buffer.alloc(21).toString('base64')],
    ['{SHA} in small letters', '{sha}VBPuJHI7uixaa6LQGWx4s+5GKNE='],
    ['rounds under 1000', sha256.replace('$5$', '$5$rounds=999$')],
    ['rounds over 999999999', sha256.replace('$5$', '$5$rounds=1000000000$')],
    ['rounds with a zero in front', sha256.replace('$5$', '$5$rounds=05000$')],
    ['rounds that are not allowed, and no salt', sha256.replace('salt', 'rounds=1')],
    ['a SHA-crypt salt of 17 characters', sha256.replace('salt', 's'.repeat(17))],
    ['$5$ with the digest of $6$', sha512.replace('$6$', '$5$')],
    ['$6$ with the digest of $5$', sha256.replace('$5$', '$6$')],
    ['a line break at the end', `${bcrypt}\n`],
  ];
  for (const [title, hash] of broken) {
    it(`refuses ${title}`, () => assert.equal(parsePasswordHash(hash), undefined));
  }
});

describe('hashPassword', () => {
  it('writes bcrypt of cost 10 as $2y$, differently each time', () => {
    const hash = hashPassword('pässwörd');
    assert.match(hash, /^\$2y\$10\$/);
    assert.equal(verifyPassword('pässwörd', hash), true);
    assert.notEqual(hashPassword('pässwörd'), hash);
  });
});
