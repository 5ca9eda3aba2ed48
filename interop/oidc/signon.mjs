// An OIDC provider at which people sign in, for tests: the login and consent pages of oidc-provider, which take any name and
// password. Names that begin with "support" are in the group shop-support, all are in shop-customer; "liar" brings claims that make
// no sense. PORT is where it listens; ORIGIN is the gateway's portal; PROVIDER is its name there. Paths of its own tell it to misbehave.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import https from 'node:https';
import { readFileSync } from 'node:fs';
import { Provider } from 'oidc-provider';

const port = Number(process.env.PORT);
const issuer = `http://127.0.0.1:${port}`;
const { ORIGIN, PROVIDER, CA } = process.env;
const closed = new Set(); // accounts that may not come in any more

// Names below localhost are this machine, which this resolver may not know.
const agent = new https.Agent({ ca: readFileSync(CA), lookup: (_, options, done) => (options.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4)) });

function fetchHere(url, options) {
  return new Promise((resolve, reject) => {
    const request = https.request(url, { method: options.method, headers: Object.fromEntries(new Headers(options.headers)), agent }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => resolve(new Response(Buffer.concat(parts), { status: response.statusCode })));
    });
    request.on('error', reject);
    request.end(options.body ? options.body.toString() : undefined);
  });
}

function key() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'RS256' };
}

// A clock that is wrong by so many seconds.
const now = Date.now;
Date.now = () => now() + 1000 * Number(process.env.SKEW ?? 0);

const make = () => new Provider(issuer, {
  clients: [{
    client_id: 'gatehouse', client_secret: 'not-a-secret-either: +/=', grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
    redirect_uris: [`${ORIGIN}/callback/${PROVIDER}`], post_logout_redirect_uris: [`${ORIGIN}/signed-out`],
    backchannel_logout_uri: `${ORIGIN}/back-channel/${PROVIDER}`, backchannel_logout_session_required: true, token_endpoint_auth_method: 'client_secret_basic',
  }],
  jwks: { keys: [key()] },
  cookies: { keys: [randomUUID()] },
  claims: { openid: ['sub', 'groups', 'preferred_username'], profile: ['name'] },
  conformIdTokenClaims: false,
  scopes: ['openid', 'offline_access', 'profile'],
  ttl: { AccessToken: 300, IdToken: 300, RefreshToken: 3600, Session: 3600, Grant: 3600, Interaction: 3600 },
  issueRefreshToken: async () => true,
  findAccount: (_, id) => (closed.has(id) ? undefined : {
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, groups: id === 'liar' ? 'everything' : ['shop-customer', 'admin', ...(id.startsWith('support') ? ['shop-support'] : [])] }),
  }),
  features: { backchannelLogout: { enabled: true }, rpInitiatedLogout: { enabled: true }, pushedAuthorizationRequests: { enabled: process.env.PAR !== 'off' } },
  fetch: fetchHere,
});
let answer = make().callback();
let hangs = false;
createServer((request, response) => {
  const close = request.url.match(/^\/close\/([a-z0-9-]+)$/);
  if (close) {
    closed.add(close[1]);
    response.end('closed\n');
    return;
  }
  if (request.url === '/hang' || request.url === '/go-on') {
    hangs = request.url === '/hang';
    response.end('told\n');
    return;
  }
  if (request.url === '/rotate') {
    answer = make().callback();
    response.end('rotated\n');
    return;
  }
  if (hangs && request.url.startsWith('/token')) return; // no answer
  answer(request, response);
}).listen(port, '127.0.0.1', () => console.log('ready'));
