/** Bits of the code of each byte, and of EOS at the end (RFC 7541, appendix B). */
// biome-ignore format: a table
const codeLengths = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
  28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
  5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
  6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
  24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
  21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
  26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
];

const eos = 256;
/** Most bits that may stand after the last symbol: the beginning of EOS. */
const maxPaddingBits = 7;

/**
 * The code of each symbol. It is canonical: codes of one length rise with the symbol, and shorter codes
 * come first, so the lengths say it all.
 */
const codes = canonicalCodes();

function canonicalCodes(): Uint32Array {
  const bySymbol = new Uint32Array(codeLengths.length);
  const symbols = codeLengths.map((_, symbol) => symbol);
  symbols.sort((a, b) => codeLengths[a]! - codeLengths[b]! || a - b);
  let code = 0;
  let length = 0;
  for (const symbol of symbols) {
    code <<= codeLengths[symbol]! - length;
    length = codeLengths[symbol]!;
    bySymbol[symbol] = code;
    code++;
  }
  return bySymbol;
}

// The decoder walks the tree of codes four bits at a time. A transition holds the state that follows
// (bits 0 to 9), a symbol if the four bits complete one (bits 10 to 17), and what it is:
const hasSymbol = 1 << 18;
const isError = 1 << 19;
/** A string may end in the state that follows: what is pending is a beginning of EOS, all ones. */
const mayEnd = 1 << 20;
const stateMask = 0x3ff;

const transitions = buildTransitions();

interface TreeNode {
  readonly children: [TreeNode | number | undefined, TreeNode | number | undefined];
  readonly state: number;
  readonly depth: number;
  readonly allOnes: boolean;
}

function buildTransitions(): Uint32Array {
  const nodes: TreeNode[] = [];
  const newNode = (depth: number, allOnes: boolean): TreeNode => {
    const node: TreeNode = {
      children: [undefined, undefined],
      state: nodes.length,
      depth,
      allOnes,
    };
    nodes.push(node);
    return node;
  };
  const root = newNode(0, true);
  for (let symbol = 0; symbol < codeLengths.length; symbol++) {
    const length = codeLengths[symbol]!;
    let node = root;
    for (let bit = length - 1; bit > 0; bit--) {
      const direction = (codes[symbol]! >>> bit) & 1;
      let child = node.children[direction];
      if (child === undefined) {
        child = newNode(node.depth + 1, node.allOnes && direction === 1);
        node.children[direction] = child;
      }
      node = child as TreeNode;
    }
    node.children[codes[symbol]! & 1] = symbol;
  }
  const table = new Uint32Array(nodes.length * 16);
  for (const start of nodes) {
    for (let nibble = 0; nibble < 16; nibble++) {
      let node = start;
      let entry = 0;
      for (let bit = 3; bit >= 0; bit--) {
        const child = node.children[(nibble >>> bit) & 1]!;
        if (typeof child !== "number") {
          node = child;
          continue;
        }
        // Codes have five bits at least, so four bits complete one symbol at most.
        if (child === eos) entry |= isError;
        else entry |= hasSymbol | (child << 10);
        node = root;
      }
      if (node.allOnes && node.depth <= maxPaddingBits) entry |= mayEnd;
      table[start.state * 16 + nibble] = entry | node.state;
    }
  }
  return table;
}

/** Most bytes that a string of so many Huffman-coded bytes decodes to. */
export function maxDecodedBytes(codedBytes: number): number {
  return Math.floor((codedBytes * 8) / 5);
}

/**
 * Decodes a string (RFC 7541, section 5.2).
 *
 * @param target - takes {@link maxDecodedBytes} of the coded length from its beginning
 * @returns bytes written; -1 if the string holds EOS or its padding is no beginning of EOS
 */
export function decodeHuffman(
  source: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
): number {
  let state = 0;
  let entry = mayEnd;
  let at = 0;
  for (let index = start; index < end; index++) {
    const byte = source[index]!;
    entry = transitions[state * 16 + (byte >>> 4)]!;
    if (entry & hasSymbol) target[at++] = (entry >>> 10) & 0xff;
    if (entry & isError) return -1;
    entry = transitions[(entry & stateMask) * 16 + (byte & 15)]!;
    if (entry & hasSymbol) target[at++] = (entry >>> 10) & 0xff;
    if (entry & isError) return -1;
    state = entry & stateMask;
  }
  return entry & mayEnd ? at : -1;
}

/** Bytes that the code of a string takes. */
export function huffmanLength(text: string): number {
  let bits = 0;
  for (let index = 0; index < text.length; index++) bits += codeLengths[text.charCodeAt(index)]!;
  return (bits + 7) >>> 3;
}

/**
 * Writes the code of a string of bytes.
 *
 * @returns where the next byte goes
 */
export function encodeHuffman(text: string, target: Uint8Array, start: number): number {
  let at = start;
  let pending = 0;
  let pendingBits = 0;
  for (let index = 0; index < text.length; index++) {
    const symbol = text.charCodeAt(index);
    let length = codeLengths[symbol]!;
    const code = codes[symbol]!;
    // At most 30 bits come to at most 7 pending ones: one byte at a time stays within 32 bits.
    while (length > 0) {
      const taken = Math.min(8 - pendingBits, length);
      pending = (pending << taken) | ((code >>> (length - taken)) & ((1 << taken) - 1));
      pendingBits += taken;
      length -= taken;
      if (pendingBits === 8) {
        target[at++] = pending;
        pending = 0;
        pendingBits = 0;
      }
    }
  }
  if (pendingBits > 0) {
    const free = 8 - pendingBits;
    target[at++] = (pending << free) | ((1 << free) - 1);
  }
  return at;
}
