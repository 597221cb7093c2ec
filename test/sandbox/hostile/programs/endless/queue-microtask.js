export default function () {
  const again = () => queueMicrotask(again)
  again()
  return 'the return value comes before the flood'
}
