/** The little of WebAssembly's interface that is used here: TypeScript has it only with all the types of a browser. */
export interface WebAssemblyApi {
  compile(bytes: Uint8Array): Promise<object>;
  instantiate(module: object | Uint8Array, imports: object): Promise<object>;
  Memory: new (limits: { initial: number; maximum?: number; shared?: boolean }) => { readonly buffer: ArrayBuffer };
}

export const webAssembly = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;

/** Bytes of a page of WebAssembly's memory. */
export const PAGE = 1 << 16;
