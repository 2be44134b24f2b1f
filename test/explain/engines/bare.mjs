import { createServer } from 'node:http';

// A server that has answered some requests.
const server = createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => response.end(JSON.stringify({ url: request.url, bytes: Buffer.concat(chunks).length })));
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
for (let i = 0; i < 200; i++) {
  const answer = await fetch(`http://127.0.0.1:${server.address().port}/${i}`, { method: 'POST', body: 'x'.repeat(10_000) });
  await answer.json();
}
process.exit(0);
