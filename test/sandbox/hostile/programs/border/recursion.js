export default function deeper() {
  return deeper() + 1
}
