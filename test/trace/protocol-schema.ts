import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** A type of the protocol, or of a property. */
interface ProtocolType {
  readonly id?: string;
  readonly name?: string;
  readonly type?: string;
  readonly $ref?: string;
  readonly optional?: boolean;
  readonly enum?: readonly string[];
  readonly items?: ProtocolType;
  readonly properties?: readonly ProtocolType[];
}

interface Protocol {
  readonly domains: readonly { readonly domain: string; readonly types?: readonly ProtocolType[] }[];
}

/**
 * The JSON schema of a type of the protocol that Chrome's tools speak, made of the description that a process of Node serves.
 *
 * @param name - with its domain: `HeapProfiler.SamplingHeapProfile`
 */
export async function protocolSchema(name: string): Promise<object> {
  const { domains } = await protocol();
  const definitions = domains.flatMap(({ domain, types = [] }) =>
    types.map((type) => [`${domain}.${type.id}`, schemaOf(type, domain)] as const),
  );
  return { $ref: `#/$defs/${name}`, $defs: Object.fromEntries(definitions) };
}

function schemaOf({ type, $ref, items, properties, enum: values }: ProtocolType, domain: string): object {
  if ($ref !== undefined) return { $ref: `#/$defs/${$ref.includes('.') ? $ref : `${domain}.${$ref}`}` };
  if (type === 'array') return { type, items: items === undefined ? {} : schemaOf(items, domain) };
  if (type !== 'object' || properties === undefined) return type === 'any' ? {} : { type, ...(values ? { enum: values } : {}) };
  return {
    type,
    properties: Object.fromEntries(properties.map((property) => [property.name, schemaOf(property, domain)])),
    required: properties.filter(({ optional }) => optional !== true).map((property) => property.name),
    additionalProperties: false,
  };
}

async function protocol(): Promise<Protocol> {
  const program = spawn(process.execPath, ['--inspect=127.0.0.1:0', '-e', 'process.stdin.resume()'], {
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  try {
    for await (const line of createInterface(program.stderr)) {
      const [, address] = /ws:\/\/([\d.]+:\d+)\//.exec(line) ?? [];
      if (address !== undefined) return (await (await fetch(`http://${address}/json/protocol`)).json()) as Protocol;
    }
    throw new Error('the process ended before it said where it listens');
  } finally {
    program.kill();
    await once(program, 'exit');
  }
}
