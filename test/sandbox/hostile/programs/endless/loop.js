// The plainest one: never comes back, calls nothing, allocates nothing.
for (;;);
