/** A kind of memory that a region can lie in. */
export type BackendType = 'array' | 'malloc' | 'posix-mmap' | 'posix-shm' | 'file' | 'cuda-shm' | 'hip-shm';

/** What stands for each in a header. */
const CODES: { readonly [T in BackendType]: number } = {
  array: 1,
  malloc: 2,
  'posix-mmap': 3,
  'posix-shm': 4,
  file: 5,
  'cuda-shm': 6,
  'hip-shm': 7,
};

/** All of them. */
export const BACKEND_TYPES = Object.keys(CODES) as readonly BackendType[];

export function codeOfType(type: BackendType): number {
  return CODES[type];
}

/** @returns undefined for a code that stands for nothing */
export function typeOfCode(code: number): BackendType | undefined {
  return BACKEND_TYPES.find((type) => CODES[type] === code);
}
