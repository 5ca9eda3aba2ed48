// Reads requests with Node's HTTP parser and prints one line of JSON for each: what Node understood.
const http = require('http');
const server = http.createServer((req, res) => {
  const url = new URL(req.url, 'http://' + req.headers.host);
  const lines = [];
  for (let i = 0; i < req.rawHeaders.length; i += 2) lines.push([req.rawHeaders[i], req.rawHeaders[i + 1]]);
  const body = [];
  req.on('data', (piece) => body.push(piece));
  req.on('end', () => {
    process.stdout.write(JSON.stringify({
      method: req.method, target: req.url, host: url.hostname,
      segments: url.pathname.split('/').slice(1).map(decodeURIComponent),
      query: [...url.searchParams].map(([name, value]) => [name, value]),
      event: req.headers['gatehouse-event'], fields: lines, body: Buffer.concat(body).toString('latin1'),
    }) + '\n');
    res.end();
  });
});
server.keepAliveTimeout = 60000;
server.maxRequestsPerSocket = 0;
server.on('clientError', (err, socket) => {
  process.stdout.write(JSON.stringify({ error: String(err.code) }) + '\n');
  socket.destroy();
});
server.listen(0, '127.0.0.1', () => process.stdout.write(JSON.stringify({ port: server.address().port }) + '\n'));
process.stdin.on('end', () => process.exit(0)).resume();
