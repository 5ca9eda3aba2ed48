// An OIDC provider for tests: it signs RS256 access tokens for whatever resource a client asks for, but opaque ones for https://opaque.*, and can be told to
// rotate its keys. PORT is where it listens.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const port = Number(process.env.PORT);
const issuer = `http://127.0.0.1:${port}`;

function key() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'RS256' };
}

function provider() {
  return new Provider(issuer, {
    clients: [{
      client_id: 'robot', client_secret: 'not-a-secret-this-is-a-test', grant_types: ['client_credentials'],
      redirect_uris: [], response_types: [], token_endpoint_auth_method: 'client_secret_basic',
    }, {
      client_id: 'gatehouse', client_secret: 'not-a-secret-either: +/=', grant_types: [], redirect_uris: [], response_types: [],
      token_endpoint_auth_method: 'client_secret_basic',
    }],
    jwks: { keys: [key()] },
    scopes: ['orders:read', 'orders:write'],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => ({
          scope: 'orders:read orders:write', audience: resource, accessTokenTTL: 300,
          ...(resource.startsWith('https://opaque.') ? { accessTokenFormat: 'opaque' } : { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } }),
        }),
      },
    },
    extraTokenClaims: () => ({ roles: ['customer'] }),
  });
}

let current = provider().callback();
createServer((request, response) => {
  if (request.url === '/rotate') {
    current = provider().callback();
    response.end('rotated\n');
    return;
  }
  current(request, response);
}).listen(port, '127.0.0.1', () => console.log('ready'));
