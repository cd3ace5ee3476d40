import { describe, expect, it } from 'vitest';
import { chainText, holderIdOf, parseContainerId } from './container-id.ts';

describe('container ids', () => {
  it('are chains from the outermost inwards', () => {
    const id = parseContainerId({ value: 'c', parent: { value: 'b', parent: { value: 'a' } } });
    expect(chainText(id)).toBe('a.b.c');
    expect(holderIdOf(id)).toBe('mesos/a.b.c');
  });

  it('become holders that are never the same for different chains', () => {
    const deep = (value: string, parent?: string): string =>
      holderIdOf({ value, ...(parent === undefined ? {} : { parent: { value: parent } }) });
    const ids = [
      deep('a.b'),
      deep('b', 'a'),
      deep('a'),
      deep('x'.repeat(300)),
      deep(`${'x'.repeat(299)}y`),
      deep('a/b'),
    ];
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(id).toMatch(/^mesos\/[\w.~-]{1,250}$/);
  });

  it.each([[null], ['a'], [{}], [{ value: '' }], [{ value: 3 }], [{ value: 'a', parent: 'b' }]])(
    'refuses %j',
    (json) => {
      expect(() => parseContainerId(json)).toThrow('no container id');
    },
  );

  it('refuses endless parents', () => {
    let id: object = { value: 'a' };
    for (let depth = 0; depth < 200; depth += 1) id = { value: 'a', parent: id };
    expect(() => parseContainerId(id)).toThrow('no container id');
  });
});
