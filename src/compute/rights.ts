/** Who may attach, replace, remove and steer the program of a directory. */
import type { Principal } from '../file-server/types.ts'
import { VfsError } from '../errors.ts'

const STICKY = 0o1000

/**
 * As for files: who may write in the directory may put a program there, and replace or remove
 * another's; in a sticky one only the program's owner, the directory's owner and root may.
 */
export function refusal(
  directory: { readonly uid: number; readonly mode: number },
  mayWrite: boolean,
  principal: Principal,
  programOwner: number | undefined,
): VfsError | undefined {
  const { uid } = principal
  if (!mayWrite)
    return new VfsError('EACCES', `uid ${uid} may not write in this directory, so not attach here`)
  const sticky = (directory.mode & STICKY) !== 0
  if (!sticky || programOwner === undefined || [programOwner, directory.uid, 0].includes(uid))
    return undefined
  return new VfsError(
    'EPERM',
    `the directory is sticky: only uid ${programOwner}, who owns the program, uid ${directory.uid}, who owns the directory, and root may change its program`,
  )
}
