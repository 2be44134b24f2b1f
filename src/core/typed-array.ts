/** A typed array class, such as `Float32Array`. */
export interface TypedArrayClass<T> {
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): T;
  readonly BYTES_PER_ELEMENT: number;
}

/** The class `Buffer`, for programs without the types of Node. */
export interface BufferClass<T> {
  readonly poolSize: number;
  allocUnsafe(bytes: number): T;
}

/** Where memory lies in a buffer of JavaScript. */
export interface BufferPart {
  readonly buffer: ArrayBufferLike;
  /** Bytes. */
  readonly byteOffset: number;
}
