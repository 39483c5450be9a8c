import type dns from 'node:dns';
import { describe, expect, test } from 'vitest';
import { createAddresses } from '../../webhooks/addresses.ts';

const PUBLIC_ONLY = createAddresses([]);
const WITH_NETWORKS = createAddresses(['10.20.0.0/16', '127.0.0.1', 'fd00:1::/32']);
const NOT_PUBLIC = 'leads to an address that is not public';

const problem = (url: string, addresses = PUBLIC_ONLY) => addresses.problemOf(new URL(url));

describe('a URL', () => {
  test.each([
    ...['https://127.0.0.1/', 'https://127.1/', 'https://2130706433/', 'https://0x7f.0.0.1/', 'https://127.0.0.1./', 'https://0/'],
    ...['https://10.1.2.3/', 'https://172.16.0.1/', 'https://172.31.255.255/', 'https://192.168.1.1/', 'https://100.64.0.1/'],
    ...['https://169.254.169.254/', 'https://198.19.255.255/', 'https://192.0.2.1/', 'https://224.0.0.1/', 'https://255.255.255.255/'],
    ...['https://[::1]/', 'https://[::]/', 'https://[::ffff:127.0.0.1]/', 'https://[::ffff:8.8.8.8]/', 'https://[fe80::1]/'],
    ...['https://[fd00:1::1]/', 'https://[ff02::1]/', 'https://[64:ff9b::7f00:1]/', 'https://[2002:7f00:1::]/', 'https://[2001::1]/'],
    ...['https://[2001:db8::1]/', 'https://[3fff::1]/', 'https://[4000::1]/', 'https://[100::1]/'],
  ])('%s leads to what is not public', (url) => {
    expect(problem(url)).toBe(NOT_PUBLIC);
  });

  test.each([
    ...['https://example.org/', 'https://localhost/', 'https://1.1.1.1/', 'https://172.32.0.1/', 'https://223.255.255.255/'],
    ...['https://[2606:4700::1111]/', 'https://[2001:200::1]/', 'https://[3ffe::1]/'],
  ])('%s may be right: a name is only known by its look-up', (url) => {
    expect(problem(url)).toBeNull();
  });

  test.each([
    ['http://example.org/', 'must begin with https://'],
    ['ftp://example.org/', 'must begin with https://'],
    ['file:///etc/passwd', 'must begin with https://'],
    ['https://user:secret@example.org/', 'must not have a user or password in it'],
    ['https://user@example.org/', 'must not have a user or password in it'],
  ])('%s %s', (url, expected) => {
    expect(problem(url)).toBe(expected);
  });

  test('may lead to networks of the settings, without encryption too', () => {
    for (const host of ['10.20.3.4', '127.0.0.1', '[fd00:1::5]', '[::ffff:10.20.3.4]']) {
      expect(problem(`http://${host}/`, WITH_NETWORKS), host).toBeNull();
      expect(problem(`https://${host}/`, WITH_NETWORKS), host).toBeNull();
    }
    for (const host of ['10.21.3.4', '127.0.0.2', '[fd00:2::5]', '[::1]']) {
      expect(problem(`https://${host}/`, WITH_NETWORKS), host).toBe(NOT_PUBLIC);
    }
    // Whoever may leave out encryption within must not do so without.
    expect(problem('http://1.1.1.1/', WITH_NETWORKS)).toBe(NOT_PUBLIC);
    expect(problem('ftp://10.20.3.4/', WITH_NETWORKS)).toBe('must begin with https://');
  });
});

describe('the look-up of a name', () => {
  const FOUND = [
    { address: '127.0.0.1', family: 4 },
    { address: '1.1.1.1', family: 4 },
    { address: 'fe80::1%eth0', family: 6 },
    { address: '10.20.0.1', family: 4 },
    { address: '2606:4700::1111', family: 6 },
  ];

  function lookUp(networks: string[], url: string, found = FOUND, all = true): Promise<unknown> {
    const resolve = ((_host: string, _options: object, callback: (error: null, found: unknown) => void) =>
      callback(null, found)) as unknown as typeof dns.lookup;
    return new Promise((done, failed) =>
      createAddresses(networks, resolve).lookup(new URL(url))('example.org', { all }, (error, address) =>
        error ? failed(error) : done(address),
      ),
    );
  }

  test('gives what may be reached only', async () => {
    expect(await lookUp([], 'https://example.org')).toEqual([FOUND[1], FOUND[4]]);
    expect(await lookUp(['10.20.0.0/16'], 'https://example.org')).toEqual([FOUND[1], FOUND[3], FOUND[4]]);
    expect(await lookUp(['10.20.0.0/16'], 'http://example.org')).toEqual([FOUND[3]]);
    expect(await lookUp([], 'https://example.org', FOUND, false)).toBe('1.1.1.1');
  });

  test('fails where that is nothing', async () => {
    await expect(lookUp([], 'https://example.org', [FOUND[0]!, FOUND[2]!])).rejects.toMatchObject({ name: 'AddressNotAllowed' });
    await expect(lookUp([], 'http://example.org')).rejects.toMatchObject({ name: 'AddressNotAllowed' });
    await expect(lookUp([], 'https://example.org', [])).rejects.toMatchObject({ name: 'AddressNotAllowed' });
  });
});
