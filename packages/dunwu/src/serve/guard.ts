import { timingSafeEqual } from 'node:crypto';
import type { Context, Hono } from 'hono';
import { cors } from 'hono/cors';
import { ApiError } from './api-error.js';
import type { ServerSettings } from './service.js';

/**
 * Who may ask: another site's page cannot, by its origin or by a name that it made point here; beyond that the token. Pages
 * that may (`origins`) get the CORS headers that browsers ask for. A preflight (OPTIONS) has no token, so it is answered
 * before that is looked for.
 */
export function guard(app: Hono, { hosts, origins, token }: ServerSettings): void {
  app.use(async (c, next) => {
    checkHost(c, hosts);
    checkOrigin(c, origins);
    await next();
  });
  if (origins.length > 0) {
    app.use(
      // Which headers a client adds of its own is its affair (OpenAI's: X-Stainless-…): those that are asked for are allowed.
      cors({ origin: [...origins], allowMethods: ['GET', 'POST'], exposeHeaders: ['Retry-After'], maxAge: 600 }),
    );
  }
  if (token === undefined) return;
  app.use(async (c, next) => {
    checkToken(c, token);
    await next();
  });
}

function checkHost(c: Context, hosts: ServerSettings['hosts']): void {
  const host = (c.req.header('host') ?? '').replace(/:\d+$/, '').toLowerCase();
  if (hosts === null || hosts.includes(host)) return;
  throw new ApiError(403, `requests for the host ${JSON.stringify(host)} are not answered`);
}

function checkOrigin(c: Context, origins: readonly string[]): void {
  const origin = c.req.header('origin');
  if (origin === undefined || origins.includes(origin)) return;
  throw new ApiError(
    403,
    `pages of ${JSON.stringify(origin.slice(0, 200))} may not ask: start the server with --origin for it`,
  );
}

function checkToken(c: Context, token: string): void {
  const given = /^Bearer (.+)$/.exec(c.req.header('authorization') ?? '')?.[1] ?? '';
  const [mine, theirs] = [Buffer.from(token), Buffer.from(given)];
  if (given !== '' && mine.length === theirs.length && timingSafeEqual(mine, theirs)) return;
  throw new ApiError(401, 'the token is missing or wrong: Authorization: Bearer …', { code: 'invalid_api_key' });
}
