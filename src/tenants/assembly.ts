/** `assemble` defers how each of its parts is undone; if one fails, those before it are, at once. */
export async function orUndo<T>(assemble: (undo: AsyncDisposableStack) => Promise<T>): Promise<T> {
  const undo = new AsyncDisposableStack()
  try {
    return await assemble(undo)
  } catch (error) {
    await undo.disposeAsync()
    throw error
  }
}
