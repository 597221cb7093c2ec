// Every `then` answers with another thenable: resolving never ends.
export default function () {
  const thenable = () => ({ then: (resolve) => resolve(thenable()) })
  return thenable()
}
