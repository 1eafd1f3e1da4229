package javax.annotation;

/** What generated clients are marked with; Java itself no longer comes with it. */
public @interface Generated {
    String value() default "";

    String date() default "";

    String comments() default "";
}
