/** A native function that answers with a status. */
export type StatusFunction = (...args: unknown[]) => number;

/** What tells one GPU runtime from the other: they have the same functions under different names. */
export interface GpuDialect {
  /** The device's name, as in `stowage/adapters/<name>`. */
  readonly name: string;
  /** What the runtime's functions begin with. */
  readonly prefix: string;
  /** What the driver's functions begin with. */
  readonly driverPrefix: string;
  /** File names of the runtime, the newest first. */
  readonly libraries: readonly string[];
  /** Whether the runtime hands out the driver's functions by name, instead of exporting them. */
  readonly hasEntryPoints: boolean;
}

const IS_WINDOWS = process.platform === 'win32';

/** CUDA. libcuda need not be found: the runtime does. */
export const CUDA: GpuDialect = {
  name: 'cuda',
  prefix: 'cuda',
  driverPrefix: 'cu',
  libraries: IS_WINDOWS
    ? ['cudart64_13.dll', 'cudart64_12.dll']
    : ['libcudart.so.13', 'libcudart.so.12', 'libcudart.so', '/usr/local/cuda/lib64/libcudart.so'],
  hasEntryPoints: true,
};

/** HIP: everything is in one library. */
export const HIP: GpuDialect = {
  name: 'hip',
  prefix: 'hip',
  driverPrefix: 'hip',
  libraries: IS_WINDOWS
    ? ['amdhip64_7.dll', 'amdhip64_6.dll', 'amdhip64.dll']
    : ['libamdhip64.so.7', 'libamdhip64.so.6', 'libamdhip64.so.5', 'libamdhip64.so', '/opt/rocm/lib/libamdhip64.so'],
  hasEntryPoints: false,
};
