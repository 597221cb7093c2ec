// Only a query has a program to import.
import program from '.compute'
export default (dir) => program(dir)
