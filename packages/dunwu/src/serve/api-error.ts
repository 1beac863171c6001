import { errorText } from '../util/errors.js';
/** An error in OpenAI's shape. */
export class ApiError extends Error {
  constructor(
    readonly status: 400 | 401 | 403 | 404 | 405 | 408 | 413 | 429 | 500 | 503 | 504,
    message: string,
    readonly details: { readonly code?: string; readonly param?: string; readonly type?: string } = {},
  ) {
    super(message);
  }

  get body(): { error: { message: string; type: string; param: string | null; code: string | null } } {
    const type = this.details.type ?? (this.status >= 500 ? 'server_error' : 'invalid_request_error');
    const { code = null, param = null } = this.details;
    return { error: { message: this.message, type, param, code } };
  }
}

/** What a client is told of a failure: the server's own (500), unless it is one that was meant for it. */
export function apiError(thrown: unknown): ApiError {
  return thrown instanceof ApiError ? thrown : new ApiError(500, errorText(thrown));
}
