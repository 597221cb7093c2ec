// The loop runs while trusted code turns the thrown value into text.
export default function () {
  throw {
    get message() {
      for (;;);
    },
    toString() {
      for (;;);
    },
  }
}
