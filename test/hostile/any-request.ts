import { create, type DescField, type DescMessage, ScalarType, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';

const DEEPEST = 3;

/** The bytes of a message of this kind with any values in its fields; texts are often one of `texts`. */
export function anyRequestBytes(message: DescMessage, texts: readonly string[]): fc.Arbitrary<Uint8Array> {
  return anyFields(message, texts, DEEPEST).map((fields) => toBinary(message, create(message, fields)));
}

function anyFields(
  message: DescMessage,
  texts: readonly string[],
  depth: number,
): fc.Arbitrary<Record<string, unknown>> {
  const own = message.fields.filter(({ oneof }) => oneof === undefined);
  const fields = Object.fromEntries(own.map((field) => [field.localName, anyField(field, texts, depth)]));
  const choices = message.oneofs.map((oneof) => [
    oneof.localName,
    fc.oneof(
      ...oneof.fields.map((field) => anyField(field, texts, depth).map((value) => ({ case: field.localName, value }))),
    ),
  ]);
  return fc.record({ ...fields, ...(Object.fromEntries(choices) as typeof fields) }, { requiredKeys: [] });
}

function anyField(field: DescField, texts: readonly string[], depth: number): fc.Arbitrary<unknown> {
  const text = fc.oneof(fc.constantFrom(...texts), fc.string(), fc.constant('x'.repeat(5_000)));
  switch (field.fieldKind) {
    case 'scalar':
      return anyScalar(field.scalar, text);
    case 'enum':
      return fc.nat(12);
    case 'message':
      return depth === 0 ? fc.constant(undefined) : anyFields(field.message, texts, depth - 1);
    case 'list': {
      if (field.listKind === 'enum') return fc.array(fc.nat(12), { maxLength: 3 });
      if (field.listKind === 'scalar') return fc.array(anyScalar(field.scalar, text), { maxLength: 3 });
      return depth === 0 ? fc.constant([]) : fc.array(anyFields(field.message, texts, depth - 1), { maxLength: 3 });
    }
    case 'map':
      return fc.dictionary(
        fc.oneof(fc.constantFrom('name', 'profile', 'fs', 'size', 'clusterhq:flocker:profile'), fc.string()),
        text,
        { maxKeys: 3 },
      );
  }
}

function anyScalar(type: ScalarType, text: fc.Arbitrary<string>): fc.Arbitrary<unknown> {
  const signed = fc.oneof(
    fc.constantFrom(-1n, 0n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 26n),
    fc.bigInt(-1000n, 2n ** 50n),
  );
  const known: Partial<Record<ScalarType, fc.Arbitrary<unknown>>> = {
    [ScalarType.STRING]: text,
    [ScalarType.BOOL]: fc.boolean(),
    [ScalarType.BYTES]: fc.uint8Array({ maxLength: 50 }),
    [ScalarType.INT64]: signed,
    [ScalarType.SINT64]: signed,
    [ScalarType.UINT64]: fc.bigInt(0n, 2n ** 64n - 1n),
  };
  return known[type] ?? fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
}
