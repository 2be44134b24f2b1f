import { checkArgument, checkUsable } from '../../../src/core/errors.js';
import { checkOwnOptions, type OwnOptions } from '../../../src/core/option-names.js';
import { ENGINE_OPTIONS, EngineHost, type EngineHostOptions } from '../engine-host.js';
import { EnvironmentAllocator, TENSOR_ALIGNMENT } from './environment-allocator.js';
import { ENGINE, findOnnxRuntime, type OnnxRuntimeLocation } from './onnxruntime-api.js';

export interface OnnxRuntimeHostOptions extends EngineHostOptions, OnnxRuntimeLocation {}

/** The session options that have a session allocate from a host. */
export interface HostedSessionOptions {
  readonly extra: { readonly session: { readonly use_env_allocators: '1' } & Readonly<Record<string, unknown>> } & Readonly<
    Record<string, unknown>
  >;
}

const OPTIONS: OwnOptions<OnnxRuntimeHostOptions> = {
  of: () => OnnxRuntimeHost,
  names: { ...ENGINE_OPTIONS, from: true, library: true },
};

/**
 * A host for ONNX Runtime: its manager serves the CPU memory of onnxruntime-node's sessions.
 *
 * ```js
 * const host = new OnnxRuntimeHost();
 * host.attach();
 * const session = await InferenceSession.create(model, host.sessionOptions());
 * ```
 *
 * Intermediate tensors, outputs and packed weights come from the manager; they have its lock. ONNX Runtime crashes when it is
 * refused memory, so it never is: what the manager does not serve comes from {@link fallback}, and a `fallback` event
 * tells (the first time without a listener, a process warning). Where the system itself has nothing left, the process aborts.
 *
 * The environment is one for the process: attach one host at a time, in one isolate. Sessions keep the allocator that they
 * were opened with. The order of an end: release every session, then {@link dispose}.
 */
export class OnnxRuntimeHost extends EngineHost {
  readonly #location: OnnxRuntimeLocation;
  #allocator: EnvironmentAllocator | undefined;

  constructor(options: OnnxRuntimeHostOptions = {}) {
    checkOwnOptions(OPTIONS, new.target, options);
    super('OnnxRuntimeHost', options);
    this.#location = options;
  }

  /** The version and the file of the library; undefined before {@link attach}. */
  get library(): { readonly version: string; readonly path: string } | undefined {
    return this.#allocator?.api;
  }

  /**
   * Loads ONNX Runtime, unless the program has, and registers this host as the allocator of its environment. Sessions that
   * are open already go on as before. Does nothing the second time.
   *
   * @throws ERR_MEM_DEVICE_ABSENT when the library is not found, too old, or another one
   * @throws ERR_MEM_ENGINE_IN_USE while another host is attached, ERR_MEM_DISPOSED after dispose
   */
  attach(): void {
    checkUsable(!this.slot.closed, 'OnnxRuntimeHost');
    if (this.#allocator !== undefined) return;
    const allocator = EnvironmentAllocator.of(findOnnxRuntime(this.#location));
    allocator.attach({
      alloc: (bytes) => this.allocAnyway(bytes, TENSOR_ALIGNMENT, ENGINE),
      free: (ptr) => {
        try {
          this.freeAnyway(ptr);
        } catch (error) {
          this.callbacks.report(error);
        }
      },
    });
    this.#allocator = allocator;
  }

  /**
   * Adds to a session's options what makes it allocate from the environment's allocator.
   *
   * @param options - other options of the session
   * @throws ERR_MEM_INVALID_ARGUMENT for `executionMode: 'parallel'`: onnxruntime-node runs a session while it blocks the
   *   event loop, and the threads of that mode would wait for the loop to allocate, for ever
   */
  sessionOptions<O extends object>(options?: O): O & HostedSessionOptions {
    const { executionMode, extra } = (options ?? {}) as { executionMode?: unknown; extra?: { session?: object } };
    const expected = 'sequential: the threads of the parallel mode would wait for ever for the event loop to allocate';
    checkArgument(executionMode !== 'parallel', 'executionMode', executionMode, expected);
    return { ...options, extra: { ...extra, session: { ...extra?.session, use_env_allocators: '1' } } } as O &
      HostedSessionOptions;
  }

  protected override detach(): void {
    this.#allocator?.detach();
    super.detach();
  }
}
