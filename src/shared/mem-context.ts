/** The thread id that means: look up the one of the thread that calls. */
export const NULL_TID = -1;

/** Hints for an allocation: on behalf of which thread-local storage it is made. */
export interface MemContext {
  /** As `createTls` set it, or {@link NULL_TID}. It is unique among all threads of all processes that use the region. */
  tid: number;
}

/** The context that serves nearly always: the calling thread's own storage. */
export const DEFAULT_MEM_CONTEXT: Readonly<MemContext> = Object.freeze({ tid: NULL_TID });
