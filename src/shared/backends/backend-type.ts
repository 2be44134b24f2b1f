/** The kinds of memory that a region can lie in, and the codes that stand for them in a header. */
const CODES = { array: 1, malloc: 2, 'posix-mmap': 3, 'posix-shm': 4, file: 5, 'cuda-shm': 6, 'hip-shm': 7 } as const;

/** A kind of memory that a region can lie in. */
export type BackendType = keyof typeof CODES;

/** All of them. */
export const BACKEND_TYPES = Object.keys(CODES) as readonly BackendType[];

export function codeOfType(type: BackendType): number {
  return CODES[type];
}

/** @returns undefined for a code that stands for nothing */
export function typeOfCode(code: number): BackendType | undefined {
  return BACKEND_TYPES.find((type) => CODES[type] === code);
}
