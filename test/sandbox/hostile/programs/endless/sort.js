// The comparator never decides, and waits while it does not.
;[1, 2, 3].sort(() => {
  for (;;);
})
