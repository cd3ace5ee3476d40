/** Hosts of a setting that may name several, as in `a.example.com,b.example.com`; empty parts are left out. */
export function splitHosts(text: string): readonly string[] {
  return text
    .split(',')
    .map((host) => host.trim())
    .filter((host) => host !== '');
}

/** A host as URLs have it: IPv6 addresses in brackets. */
export function hostInUrl(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

/** The URL of each host. */
export function httpsUrls(hosts: readonly string[], port: number): readonly string[] {
  return hosts.map((host) => `https://${hostInUrl(host)}:${port}`);
}
