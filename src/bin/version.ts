import { createRequire } from 'node:module';

const manifest = createRequire(import.meta.url)('../../../package.json') as {
  readonly version: string;
  readonly engines: { readonly node: string };
};

/** Version of this package. */
export const version: string = manifest.version;

/** The range of Nodes that it runs on. */
export const nodeEngines: string = manifest.engines.node;
