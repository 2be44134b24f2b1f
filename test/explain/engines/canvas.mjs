import { createCanvas } from '@napi-rs/canvas';

// Draws pictures and encodes them, one as WebP as well, and keeps the canvases.
globalThis.canvases = [];
for (let n = 0; n < 6; n++) {
  const canvas = createCanvas(1024, 768);
  const context = canvas.getContext('2d');
  for (let i = 0; i < 500; i++) {
    context.fillStyle = `hsl(${(i * 37) % 360} 80% 50% / 0.5)`;
    context.beginPath();
    context.arc((i * 131) % 1024, (i * 71) % 768, 10 + (i % 50), 0, 7);
    context.fill();
  }
  globalThis.canvases.push(canvas, canvas.toBuffer('image/png'));
}
globalThis.encoded = await globalThis.canvases[0].encode('webp');
