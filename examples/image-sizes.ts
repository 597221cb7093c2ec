/** Width and height of every PNG, JPEG, GIF and WebP, from the first bytes of each. */
interface Size {
  width: number
  height: number
}

/** JPEG keeps its size behind its metadata. */
const HEAD_BYTES = 256 * 1024

export default function (dir: Directory) {
  const sizes: Record<string, Size | null> = {}
  for (const file of dir.files('**/*.{png,jpg,jpeg,gif,webp}')) {
    sizes[file.path] = sizeOf(file.slice(0, HEAD_BYTES).bytes())
  }
  emit('images.json', sizes)
}

function sizeOf(bytes: Uint8Array<ArrayBuffer>): Size | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const tag = (at: number, length: number) =>
    String.fromCharCode(...bytes.subarray(at, at + length))
  try {
    if (tag(1, 3) === 'PNG') return { width: view.getUint32(16), height: view.getUint32(20) }
    if (tag(0, 3) === 'GIF')
      return { width: view.getUint16(6, true), height: view.getUint16(8, true) }
    if (view.getUint16(0) === 0xffd8) return jpegSize(view)
    if (tag(0, 4) === 'RIFF' && tag(8, 8) === 'WEBPVP8X') {
      const edge = (at: number) => 1 + view.getUint16(at, true) + (view.getUint8(at + 2) << 16)
      return { width: edge(24), height: edge(27) }
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error // cut off: no size
  }
  return null
}

/** Goes from segment to segment, up to the one that starts a frame. */
function jpegSize(view: DataView): Size {
  for (let at = 2; ; at += 2 + view.getUint16(at + 2)) {
    const marker = view.getUint8(at + 1)
    const startsFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)
    if (startsFrame) return { width: view.getUint16(at + 7), height: view.getUint16(at + 5) }
  }
}
