// Termination must not be something that a program can catch, nor `finally` outlive.
export default function () {
  const insist = () => {
    for (;;)
      try {
        for (;;);
      } catch {
        continue
      } finally {
        insist()
      }
  }
  insist()
}
