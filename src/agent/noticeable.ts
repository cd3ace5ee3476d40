/** Figures that differ by less than both are the same for whoever looks at storage. */
const LITTLE_BYTES = 2 ** 20;
const LITTLE_SHARE = 0.01;

/**
 * Whether two reports differ for their reader: anything but a number by being another, numbers of bytes by a mebibyte or a
 * hundredth.
 */
export function differsNoticeably(before: unknown, now: unknown): boolean {
  if (typeof before === 'number' && typeof now === 'number') {
    const differenceBytes = Math.abs(now - before);
    return differenceBytes >= LITTLE_BYTES || differenceBytes > LITTLE_SHARE * Math.abs(before);
  }
  if (typeof before !== 'object' || typeof now !== 'object' || before === null || now === null) return before !== now;
  const [ofBefore, ofNow] = [Object.entries(before), new Map(Object.entries(now))];
  return ofBefore.length !== ofNow.size || ofBefore.some(([key, value]) => differsNoticeably(value, ofNow.get(key)));
}
