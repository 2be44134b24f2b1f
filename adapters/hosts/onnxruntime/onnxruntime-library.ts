import { readdirSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { MemoryError } from '../../../src/core/errors.js';

/** Where ONNX Runtime is looked for. */
export interface OnnxRuntimeLocation {
  /** A folder, or the URL of a module, from which `onnxruntime-node` is found as an import would. @defaultValue the working folder */
  readonly from?: string;
  /** The shared library itself, instead. It must be the very file that the program's sessions use. */
  readonly library?: string;
}

export const ENGINE = 'ONNX Runtime';
const PACKAGE = 'onnxruntime-node';
const LIBRARY_NAME = /^(lib)?onnxruntime(\.\d+)*\.(so(\.\d+)*|dylib|dll)$/;

/**
 * Finds the shared library that an app's onnxruntime-node loads.
 *
 * @throws ERR_MEM_DEVICE_ABSENT when the package, or its binary for this platform, is not installed there
 */
export function findOnnxRuntime({ from = process.cwd(), library }: OnnxRuntimeLocation = {}): string {
  if (library !== undefined) return real(library);
  const module = from.startsWith('file:') ? from : pathToFileURL(join(resolve(from), 'module.js')).href;
  const root = packageRoot(module);
  const [best] = candidates(root);
  if (best !== undefined) return real(best);
  throw absent(`${root} has no library for ${process.platform}-${process.arch}`);
}

/** One file has one name here: it has one environment, too. */
function real(path: string): string {
  try {
    return realpathSync(resolve(path));
  } catch (error) {
    throw absent((error as Error).message, error);
  }
}

function packageRoot(module: string): string {
  try {
    return dirname(createRequire(module).resolve(`${PACKAGE}/package.json`));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const place = dirname(fileURLToPath(module));
    throw absent(code === 'MODULE_NOT_FOUND' ? `${PACKAGE} is not installed for ${place}` : message, error);
  }
}

/** The shortest name of each folder first: the one with the major version alone, which the binding is linked to. */
function candidates(root: string): string[] {
  const bindings = join(root, 'bin');
  return filesOf(bindings)
    .sort()
    .reverse()
    .flatMap((napi) => {
      const folder = join(bindings, napi, process.platform, process.arch);
      return filesOf(folder)
        .filter((name) => LIBRARY_NAME.test(name))
        .sort((a, b) => a.length - b.length)
        .map((name) => join(folder, name));
    });
}

function filesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw absent((error as Error).message, error);
  }
}

export function absent(reason: string, cause?: unknown): MemoryError<'ERR_MEM_DEVICE_ABSENT'> {
  return new MemoryError('ERR_MEM_DEVICE_ABSENT', { device: ENGINE, reason }, cause);
}
