/** A line as logrus writes it to what is no terminal. */
export function logLine(
  wallMs: number,
  level: 'info' | 'warning' | 'error',
  message: string,
  fields: Readonly<Record<string, string>> = {},
): string {
  const time = new Date(wallMs).toISOString().replace(/\.\d+Z$/, 'Z');
  const more = Object.entries(fields).map(
    ([key, value]) => ` ${key}=${/^[\w./@^+-]+$/.test(value) ? value : quoted(value)}`,
  );
  return `time="${time}" level=${level} msg=${quoted(message)}${more.join('')}\n`;
}

function quoted(text: string): string {
  return JSON.stringify(text);
}
