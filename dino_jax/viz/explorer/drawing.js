// How maps are drawn: as the library's figures are (dino_jax/viz/attend/colour.py).

const OUTLINE = "#56b4e9";

// The photograph, and it in grey as it lies beneath the colours; `shades` is the grey of each level.
function photographs(image, shades) {
  const photo = canvasOf(image.naturalWidth, image.naturalHeight);
  const grey = canvasOf(photo.width, photo.height);
  photo.getContext("2d").drawImage(image, 0, 0);
  const pixels = photo.getContext("2d").getImageData(0, 0, photo.width, photo.height);
  for (let i = 0; i < pixels.data.length; i += 4) {
    const level = (pixels.data[i] + pixels.data[i + 1] + pixels.data[i + 2]) / 3;
    pixels.data.fill(shades[Math.round(level)], i, i + 3);
  }
  grey.getContext("2d").putImageData(pixels, 0, 0);
  return { photo, grey };
}

function canvasOf(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

// The colours of strengths 0 to 255 with their opacity, four bytes each.
function coloursOf(table, blend) {
  const colours = new Uint8ClampedArray(4 * 256);
  for (let i = 0; i < 256; i++) {
    for (let k = 0; k < 3; k++)
      colours[4 * i + k] = parseInt(table.slice(6 * i + 2 * k, 6 * i + 2 * k + 2), 16);
    colours[4 * i + 3] = 255 * blend * (i / 255) ** 0.75;
  }
  return colours;
}

// One map as a picture of a pixel a patch.
function coloured(map, { rows, columns }, full, colours) {
  const canvas = canvasOf(columns, rows);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(columns, rows);
  const words = new Uint32Array(pixels.data.buffer), table = new Uint32Array(colours.buffer);
  const even = evenShare(map), unit = 255 / Math.log(full);
  for (let i = 0; i < map.length; i++)
    words[i] = map[i] > even ? table[Math.min(Math.round(unit * Math.log(map[i] / even)), 255)] : 0;
  context.putImageData(pixels, 0, 0);
  return canvas;
}

// What lies beneath the colours at some size; the latest of each size is kept.
function groundOf(picture, width, height, blend) {
  const size = `${width} ${height}`, kept = (picture.grounds ??= new Map()).get(size);
  if (kept && kept.blend === blend) return kept.canvas;
  const canvas = canvasOf(width, height), context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture.photo, 0, 0, width, height);
  context.globalAlpha = Math.min(1, 2 * blend);
  context.drawImage(picture.grey, 0, 0, width, height);
  picture.grounds.set(size, { blend, canvas });
  return canvas;
}

// One map over its photograph; `mask` and `marked` (a patch's place) may be null.
function drawMap(canvas, picture, map, grid, { full, colours, blend, smooth, mask, marked }) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  context.drawImage(groundOf(picture, width, height, blend), 0, 0);
  context.imageSmoothingEnabled = smooth;
  context.imageSmoothingQuality = "high";
  context.drawImage(coloured(map, grid, full, colours), 0, 0, width, height);
  const thick = Math.max(Math.max(width, height) / 300, 1.4);
  if (mask) drawBorder(context, mask, grid, width, height, thick);
  if (marked !== null) drawMark(context, marked, grid, width, height, thick);
}

// The border of a mask, the picture's own edge among it.
function drawBorder(context, mask, { rows, columns }, width, height, thick) {
  const across = width / columns, down = height / rows;
  const held = (row, column) =>
    row >= 0 && row < rows && column >= 0 && column < columns && mask[row * columns + column] > 0;
  context.beginPath();
  for (let row = 0; row <= rows; row++)
    for (const [from, to] of runs(columns, (i) => held(row, i) !== held(row - 1, i))) {
      context.moveTo(from * across, row * down);
      context.lineTo(to * across, row * down);
    }
  for (let column = 0; column <= columns; column++)
    for (const [from, to] of runs(rows, (i) => held(i, column) !== held(i, column - 1))) {
      context.moveTo(column * across, from * down);
      context.lineTo(column * across, to * down);
    }
  context.lineCap = "square";
  for (const [colour, wide] of [["#000", 1.6 * thick], [OUTLINE, thick]]) {
    context.strokeStyle = colour;
    context.lineWidth = wide;
    context.stroke();
  }
}

// The stretches of 0 to `count` in which something is so, from and to.
function runs(count, so) {
  const found = [];
  for (let i = 0, from = -1; i <= count; i++) {
    const here = i < count && so(i);
    if (here && from < 0) from = i;
    if (!here && from >= 0) { found.push([from, i]); from = -1; }
  }
  return found;
}

// The patch that asks: a ring that is seen on any colour, and no smaller than can be seen.
function drawMark(context, place, { rows, columns }, width, height, thick) {
  const across = width / columns, down = height / rows;
  const x = (place % columns + 0.5) * across, y = (Math.floor(place / columns) + 0.5) * down;
  const halfX = Math.max(across / 2, 2.5 * thick), halfY = Math.max(down / 2, 2.5 * thick);
  for (const [colour, wide] of [["#000", 3 * thick], ["#fff", 1.5 * thick]]) {
    context.strokeStyle = colour;
    context.lineWidth = wide;
    context.strokeRect(x - halfX, y - halfY, 2 * halfX, 2 * halfY);
  }
}

// The scale of colours from an even share to full, as on black.
function drawScale(canvas, colours) {
  const context = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x++) {
    const at = 4 * Math.round(255 * x / (canvas.width - 1));
    const [red, green, blue, opacity] = colours.subarray(at, at + 4);
    context.fillStyle = "#000";
    context.fillRect(x, 0, 1, canvas.height);
    context.fillStyle = `rgb(${red} ${green} ${blue} / ${opacity / 255})`;
    context.fillRect(x, 0, 1, canvas.height);
  }
}
