// What the page computes: attention from packed queries and keys, masks, scales. No function here
// touches the document. pack.py says how a block is packed.

// Bytes of a base64 text.
function bytesOf(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

async function inflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// The three streams of a block, which lie one after the other, as arrays a head:
// queries (tokens x channels, times the channels' weights), keys (channels x tokens), the row of
// CLS, and how many channels there are that are not 0.
async function unpacked({ heads, tokens, channels, lengths }, bytes) {
  const ends = [lengths[0], lengths[0] + lengths[1], bytes.length];
  const [first, low, high] = await Promise.all(
    [[0, ends[0]], [ends[0], ends[1]], [ends[1], ends[2]]].map(
      ([from, to]) => inflated(bytes.subarray(from, to))));
  const weights = new Float32Array(first.slice(0, 4 * heads * channels).buffer);
  const planes = first.subarray(4 * heads * channels, 4 * heads * (channels + tokens));
  const rows = new Float32Array(joinedPlanes(planes, heads * tokens).buffer);
  const widths = first.subarray(4 * heads * (channels + tokens));
  const at = { low: 0, high: 0 };
  const found = [];
  for (let head = 0; head < heads; head++) {
    const [asking, asked] = [0, 1].map((which) => {
      const from = (2 * head + which) * channels;
      return channelsOf(widths.subarray(from, from + channels), tokens, low, high, at);
    });
    const scale = weights.subarray(head * channels, (head + 1) * channels);
    found.push({ ...laidOut(asking, asked, scale, tokens),
      cls: rows.subarray(head * tokens, (head + 1) * tokens) });
  }
  return { tokens, heads: found };
}

// Numbers of four bytes from their four planes.
function joinedPlanes(planes, count) {
  const bytes = new Uint8Array(4 * count);
  for (let plane = 0; plane < 4; plane++)
    for (let i = 0; i < count; i++) bytes[4 * i + plane] = planes[plane * count + i];
  return bytes;
}

// The integers of each channel, null of one that is all 0; `at` says what was read and moves on.
function channelsOf(widths, tokens, low, high, at) {
  return Array.from(widths, (width) => {
    if (!width) return null;
    const numbers = new Int32Array(tokens);
    for (let i = 0; i < tokens; i++) {
      const zigzag = low[at.low + i] | (width > 1 ? high[at.high + i] << 8 : 0);
      numbers[i] = zigzag & 1 ? -((zigzag + 1) >> 1) : zigzag >> 1;
    }
    at.low += tokens;
    if (width > 1) at.high += tokens;
    return numbers;
  });
}

function laidOut(asking, asked, weights, tokens) {
  const kept = [...asking.keys()].filter((channel) => asking[channel] && asked[channel]);
  const queries = new Float32Array(tokens * kept.length);
  const keys = new Float32Array(tokens * kept.length);
  kept.forEach((channel, place) => {
    keys.set(asked[channel], place * tokens);
    for (let token = 0; token < tokens; token++)
      queries[token * kept.length + place] = asking[channel][token] * weights[channel];
  });
  return { queries, keys, channels: kept.length };
}

// Softmax over all tokens of one query with all keys: what `token` attends to in one head.
function attention({ queries, keys, channels, cls }, token) {
  if (token === 0) return cls;
  const tokens = cls.length;
  const logits = new Float64Array(tokens);
  const query = queries.subarray(token * channels, (token + 1) * channels);
  let channel = 0;
  for (; channel + 3 < channels; channel += 4) {
    const [a, b, c, d] = query.subarray(channel, channel + 4);
    const first = channel * tokens, second = first + tokens;
    const third = second + tokens, fourth = third + tokens;
    for (let i = 0; i < tokens; i++)
      logits[i] += a * keys[first + i] + b * keys[second + i]
        + c * keys[third + i] + d * keys[fourth + i];
  }
  for (; channel < channels; channel++)
    for (let i = 0, from = channel * tokens; i < tokens; i++)
      logits[i] += query[channel] * keys[from + i];
  return softmax(logits);
}

function softmax(logits) {
  let most = -Infinity, total = 0;
  for (const logit of logits) if (logit > most) most = logit;
  for (let i = 0; i < logits.length; i++) total += logits[i] = Math.exp(logits[i] - most);
  const shares = new Float32Array(logits.length);
  for (let i = 0; i < logits.length; i++) shares[i] = logits[i] / total;
  return shares;
}

function mean(maps) {
  const average = new Float32Array(maps[0].length);
  for (let i = 0; i < average.length; i++) {
    let sum = 0;
    for (const map of maps) sum += map[i];
    average[i] = sum / maps.length;
  }
  return average;
}

// The patches that hold the largest `fraction` of the mass: the decisions of the library's
// mass_masks, which adds the values up from the smallest and rounds the sums to float32.
function massMask(values, fraction) {
  const ascending = Float32Array.from(values).sort();
  const kept = new Uint8Array(values.length);
  let total = 0;
  for (const value of ascending) total += value;
  total = Math.fround(total);
  if (!(total > 0)) return kept;
  const limit = Math.fround(1 - fraction);
  let first = 0, below = 0;
  for (; first < ascending.length; first++) {
    below += Math.fround(ascending[first] / total);
    if (Math.fround(below) > limit) break;
  }
  // Of equal values those that come first are the smaller ones.
  const border = ascending[first];
  let dropped = 0;
  while (first > dropped && ascending[first - 1 - dropped] === border) dropped++;
  for (let i = 0; i < kept.length; i++)
    kept[i] = values[i] > border || (values[i] === border && dropped-- <= 0) ? 1 : 0;
  return kept;
}

// Where colour is full, in even shares of a map: the 99.5th percentile of all, at least `least`.
function fullOf(maps, least) {
  const count = maps.reduce((sum, map) => sum + map.length, 0);
  const place = 0.995 * (count - 1), under = Math.floor(place);
  const top = new Float32Array(count - under).fill(-Infinity); // the largest, in their order
  for (const map of maps) {
    const even = evenShare(map);
    for (let i = 0; i < map.length; i++) {
      const share = Math.fround(map[i] / even);
      if (!(share > top[0])) continue;
      let at = 1;
      for (; at < top.length && top[at] < share; at++) top[at - 1] = top[at];
      top[at - 1] = share;
    }
  }
  const over = Math.min(1, top.length - 1);
  return Math.max(top[0] + (place - under) * (top[over] - top[0]), least);
}

function evenShare(map) {
  let sum = 0;
  for (const value of map) sum += value;
  return Math.max(sum / map.length, 1.2e-38);
}

// The `count` largest values, largest first, as places.
function largest(values, count) {
  const found = [];
  for (let i = 0; i < values.length; i++) {
    if (found.length === count && values[i] <= values[found[count - 1]]) continue;
    let place = found.length;
    while (place > 0 && values[found[place - 1]] < values[i]) place--;
    found.splice(place, 0, i);
    if (found.length > count) found.pop();
  }
  return found;
}
