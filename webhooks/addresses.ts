/**
 * Which addresses may be reached: public ones, and those of networks that the settings name. Whoever may set up a webhook
 * must not be able to post to what is behind our firewall, be it by a name that leads there (server-side request forgery).
 */
import dns from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/** IANA's special-purpose registries: what is not globally reachable, or leads elsewhere than it says (6to4, Teredo). */
const SPECIAL_V4 = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.0.0.0/24'],
  ...['192.0.2.0/24', '192.88.99.0/24', '192.168.0.0/16', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24'],
  // Multicast, reserved, broadcast.
  '224.0.0.0/3',
];
const SPECIAL_V6 = [
  // All but 2000::/3, the only unicast space that is given out: so loopback, unique local, link-local, multicast, NAT64 and
  // IPv4 in IPv6 are among these.
  ...['::/3', '4000::/2', '8000::/1'],
  ...['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'],
];

/** One list would hold every IPv4 address against `::/3`, where IPv4 in IPv6 is. */
const SPECIAL = { ipv4: blockList(SPECIAL_V4), ipv6: blockList(SPECIAL_V6) };

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}

function blockList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix] = network.split('/');
    const family = familyOf(address);
    list.addSubnet(address, prefix === undefined ? (family === 'ipv6' ? 128 : 32) : Number(prefix), family);
  }
  return list;
}

export interface Addresses {
  /** What is wrong with a webhook's URL, in words that go on from "url"; null: nothing that can be seen from it. */
  problemOf(url: URL): string | null;
  /** Of an IP address in a URL; a name is only known by its look-up. */
  mayReach(url: URL): boolean;
  /** `lookup` of node:net for connections to this URL: gives only addresses that may be reached, at the moment they are used. */
  lookup(url: URL): LookupFunction;
}

/** A name leads only to addresses that may not be reached. */
export class AddressNotAllowed extends Error {
  override readonly name = 'AddressNotAllowed';
}

/** `networks`, such as `10.20.0.0/16`, may be reached although they are not public, also without encryption. */
export function createAddresses(networks: readonly string[], resolve: typeof dns.lookup = dns.lookup): Addresses {
  const named = blockList(networks);

  function isAllowed(protocol: string, found: string): boolean {
    const [address = ''] = found.split('%'); // link-local ones come with the interface
    const family = familyOf(address);
    return named.check(address, family) || (protocol === 'https:' && !SPECIAL[family].check(address, family));
  }

  function mayReach({ protocol, hostname }: URL): boolean {
    const address = hostname.replace(/^\[|\]$/g, '');
    return isIP(address) === 0 || isAllowed(protocol, address);
  }

  return {
    mayReach,
    problemOf(url) {
      if (url.protocol !== 'https:' && (url.protocol !== 'http:' || networks.length === 0)) return 'must begin with https://';
      if (url.username !== '' || url.password !== '') return 'must not have a user or password in it';
      return mayReach(url) ? null : 'leads to an address that is not public';
    },
    lookup: ({ protocol }) => (hostname, options, callback) => {
      resolve(hostname, { ...options, all: true }, (error, found) => {
        if (error) return callback(error, []);
        const allowed = found.filter(({ address }) => isAllowed(protocol, address));
        if (allowed.length === 0) return callback(new AddressNotAllowed('no address of this name may be reached'), []);
        if (options.all) callback(null, allowed);
        else callback(null, allowed[0]!.address, allowed[0]!.family);
      });
    },
  };
}
