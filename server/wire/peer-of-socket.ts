import { BlockList, isIP, type Socket } from "node:net";
import type { Peer } from "./peer.ts";

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

const unixPeer: Peer = { address: "unix", local: true };

/** The peer of a connected socket. */
export function peerOfSocket(socket: Socket): Peer {
  const address = socket.remoteAddress;
  // A unix socket has no address; a TCP socket that is closed already has none either, but a family.
  if (address === undefined)
    return socket.localAddress === undefined ? unixPeer : { address: "gone", local: false };
  return { address, local: isLoopback(address) };
}

/** Whether an IP address, also an IPv4 one in its IPv6 form, is of this machine's loopback. */
export function isLoopback(address: string): boolean {
  const plain = address.startsWith("::ffff:") ? address.slice("::ffff:".length) : address;
  const version = isIP(plain);
  return version !== 0 && loopback.check(plain, version === 4 ? "ipv4" : "ipv6");
}
