import sharp from 'sharp';

// Makes and resizes pictures, as a thumbnail server does.
const noise = Buffer.alloc(2000 * 1500 * 3);
for (let i = 0; i < noise.length; i++) noise[i] = (i * 2654435761) >>> 24;
const picture = await sharp(noise, { raw: { width: 2000, height: 1500, channels: 3 } })
  .jpeg()
  .toBuffer();
globalThis.made = await Promise.all(
  Array.from({ length: 12 }, (_, i) =>
    sharp(picture)
      .resize(200 + 40 * i)
      .rotate(i)
      .webp()
      .toBuffer(),
  ),
);
