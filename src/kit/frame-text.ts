/** The bytes of a WebSocket frame as `ws` hands it over. */
export function frameBytes(data: Buffer | ArrayBuffer | Buffer[]): Buffer {
  if (Array.isArray(data)) return Buffer.concat(data);
  return Buffer.isBuffer(data) ? data : Buffer.from(data);
}

/** The text of a WebSocket frame. */
export function frameText(data: Buffer | ArrayBuffer | Buffer[]): string {
  return frameBytes(data).toString('utf8');
}
